//! Builds and fetches the corpus' packages into the cache, each once: a stamp holds the hash of the package's entry
//! and of those that it needs, so that a changed recipe is built anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::manifest::{Manifest, Package, folder};
use crate::apt::Release;
use crate::{paths, proc, ui};

/// Makes sure that these packages, and all that they need, are there.
pub fn provide<'a>(manifest: &'a Manifest, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let corpus = super::dir()?;
    let stamps = corpus.join(".stamps");
    fs::create_dir_all(&stamps)?;
    let prelude = fs::read_to_string(folder().join("prelude.sh"))?;
    let compiler = fs::read_to_string(folder().join("mcc"))?;
    let mut keys = std::collections::HashMap::new();
    for package in manifest.with_needs(names) {
        let mut parts = vec![format!("{package:?}")];
        parts.extend(package.needs.iter().filter_map(|need| keys.get(need).cloned()));
        if package.source.is_some() {
            parts.extend([prelude.clone(), compiler.clone()]);
        }
        let key = paths::content_key(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let stamp = stamps.join(&package.name);
        if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == key) {
            keys.insert(package.name.clone(), key);
            continue;
        }
        let begin = Instant::now();
        let spinner = ui::spinner(format!("corpus: {}", package.name));
        let made = make(package, &corpus);
        spinner.finish_and_clear();
        made.with_context(|| format!("cannot provide the package {}", package.name))?;
        fs::write(&stamp, &key)?;
        ui::step("Provided", format!("{} in {}", package.name, ui::duration(begin.elapsed())));
        keys.insert(package.name.clone(), key);
    }
    Ok(())
}

fn make(package: &Package, corpus: &Path) -> Result<()> {
    let log = corpus.join(".logs").join(&package.name);
    if let Some(source) = &package.source {
        let tree = Release::open("bookworm")?.source(source)?;
        let scratch = corpus.join(".build").join(&package.name);
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(corpus.join(".build"))?;
        proc::output(proc::command("cp").arg("-a").arg(tree).arg(&scratch))?;
        proc::logged(&mut script(package, corpus, &scratch), &log)?;
        fs::remove_dir_all(&scratch)?;
        return Ok(());
    }
    let into = corpus.join(package.into.as_deref().unwrap_or(&package.name));
    let _ = fs::remove_dir_all(&into);
    fs::create_dir_all(&into)?;
    for wheel in &package.wheels {
        let file = fetch_wheel(wheel)?;
        proc::output(proc::command("python3").args(["-m", "zipfile", "-e"]).arg(file).arg(&into))?;
    }
    if !package.script.is_empty() {
        proc::logged(&mut script(package, corpus, &into), &log)?;
    }
    Ok(())
}

/// The package's script, to be run in `dir`.
fn script(package: &Package, corpus: &Path, dir: &Path) -> Command {
    // Wheels are ready to run: only sources need the compiler that the prelude prepares.
    let prelude = if package.source.is_some() { ". \"$H/prelude.sh\"" } else { "" };
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut bash = proc::command("bash");
    bash.arg("-c").arg(format!("set -eux\n{prelude}\n{}", package.script));
    bash.env("D", corpus).env("H", folder()).env("J", jobs.to_string()).current_dir(dir);
    for set_by_users in ["CC", "CFLAGS", "LDFLAGS", "CPPFLAGS", "MAKEFLAGS", "CDPATH", "BASH_ENV"] {
        bash.env_remove(set_by_users);
    }
    bash
}

/// Downloads a musl wheel of PyPI and returns its file.
fn fetch_wheel(requirement: &str) -> Result<PathBuf> {
    let wheels = paths::cache()?.join("wheels");
    let dir = wheels.join(requirement);
    let wheel = |dir: &Path| {
        let entries = fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "whl")).last()
    };
    if let Some(file) = wheel(&dir) {
        return Ok(file);
    }
    let partial = wheels.join(format!("{requirement}.partial"));
    let _ = fs::remove_dir_all(&partial);
    let mut pip = proc::command("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]);
    for platform in platforms(requirement) {
        pip.args(["--platform", platform]);
    }
    proc::output(pip.arg("--dest").arg(&partial).arg(requirement))
        .with_context(|| format!("cannot download the wheel {requirement}"))?;
    let _ = fs::remove_dir_all(&dir);
    fs::rename(&partial, &dir)?;
    wheel(&dir).with_context(|| format!("pip downloaded no wheel for {requirement}"))
}

/// musllinux_1_1 first: wheels of 1_2 may carry DT_RELR, which musl 1.2.3 cannot read. Node exists only as 1_2.
fn platforms(requirement: &str) -> &'static [&'static str] {
    match requirement.starts_with("nodejs") {
        true => &["musllinux_1_2_x86_64", "any"],
        false => &["musllinux_1_1_x86_64", "any"],
    }
}
