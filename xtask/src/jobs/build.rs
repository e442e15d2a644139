//! `cargo xtask build`: builds the loader in release mode and says where it is.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::{elfcheck, paths, proc, ui};

/// The job.
pub fn run() -> Result<bool> {
    let loader = release()?;
    let size = std::fs::metadata(&loader)?.len();
    println!("{} ({} KiB)", loader.display(), size.div_ceil(1024));
    Ok(true)
}

/// The loader to work with: the one that `LD_MORSEL` names, else a fresh release build.
pub fn loader() -> Result<PathBuf> {
    match paths::loader_override()? {
        Some(path) => {
            ui::note(format!("LD_MORSEL is set: the loader is {}", path.display()));
            Ok(path)
        }
        None => release(),
    }
}

/// Builds the loader in release mode and returns its path, as cargo reports it. Compiler options of the user's (`RUSTFLAGS`) may
/// make of it what would crash: that is told.
pub fn release() -> Result<PathBuf> {
    let loader = executable("ld-morsel", &[])?;
    let failed = elfcheck::loader(&loader)?.into_iter().find_map(|check| Some((check.what, check.failure?)));
    match failed {
        Some((what, why)) => bail!("{}: it must have the property: {what}: {why}", loader.display()),
        None => Ok(loader),
    }
}

/// The same for the tool, which is built once. It is linked statically: where it shall install a loader for musl, there may be
/// no glibc.
pub fn tool() -> Result<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = BUILT.get() {
        return Ok(path.clone());
    }
    let path = executable("morselctl", &["-C", "target-feature=+crt-static"])?;
    Ok(BUILT.get_or_init(|| path).clone())
}

fn executable(package: &str, linking: &[&str]) -> Result<PathBuf> {
    let mut cargo = proc::cargo();
    cargo.args(["rustc", "--release", "--package", package, "--bin", package]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.arg("--").args(linking);
    let text = proc::display(&cargo);
    // Cargo's progress and the compiler's messages go to the user, the list of artifacts to us.
    let built = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.with_context(|| format!("cannot run `{text}`"))?;
    if !built.status.success() {
        bail!("`{text}` failed: {}", built.status);
    }
    let artifacts = String::from_utf8_lossy(&built.stdout);
    let executable = artifacts.lines().rev().find_map(|line| {
        let artifact: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(artifact.get("executable")?.as_str()?))
    });
    executable.context("cargo built no executable")
}
