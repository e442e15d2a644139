//! `cargo xtask fuzz`: fuzzes the ELF reader for a while, on the stable toolchain. Seeds are real ELF files of this
//! machine; findings stay in fuzz/artifacts.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{corpus, jobs, paths, proc, ui};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The fuzz target
    #[arg(default_value = "elf")]
    target: String,
}

/// Larger files are no seeds: they slow every run down.
const LARGEST: u64 = 1 << 20;

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    let fuzz = paths::repo().join("fuzz");
    if !fuzz.join("Cargo.toml").exists() {
        bail!("there is no fuzz/Cargo.toml");
    }
    jobs::setup::everything()?;
    let cargo_fuzz = cargo_fuzz()?;
    let seeds = fuzz.join("corpus").join(&args.target);
    seed(&seeds)?;
    let mut fuzzer = proc::command(cargo_fuzz);
    // No sanitizer: those need a nightly toolchain. Overflow and debug checks are in.
    fuzzer.args(["fuzz", "run", "--sanitizer", "none", &args.target]).arg(&seeds).arg("--");
    fuzzer.args([format!("-max_total_time={}", args.seconds), format!("-max_len={LARGEST}")]);
    fuzzer.arg("-timeout=10").current_dir(paths::repo());
    Ok(fuzzer.status()?.success())
}

/// cargo-fuzz: the user's, else ours in the cache, which is installed when it is missing.
fn cargo_fuzz() -> Result<PathBuf> {
    if proc::in_path("cargo-fuzz") {
        return Ok("cargo-fuzz".into());
    }
    let tools = paths::cache()?.join("tools");
    let binary = tools.join("bin/cargo-fuzz");
    if !binary.exists() {
        ui::step("Installing", "cargo-fuzz into the cache");
        proc::run(
            proc::cargo().args(["install", "--quiet", "--locked", "cargo-fuzz", "--root"]).arg(&tools),
        )?;
    }
    Ok(binary)
}

/// Copies real ELF files into the fuzzer's corpus.
fn seed(seeds: &std::path::Path) -> Result<()> {
    fs::create_dir_all(seeds)?;
    let mut files = vec![PathBuf::from(paths::STOCK), paths::musl_1_2_5()?, jobs::build::loader()?];
    let folders = [
        corpus::dir()?.join("root/lib"),
        "/usr/lib/x86_64-linux-gnu/audit".into(),
        "/usr/lib/x86_64-linux-gnu".into(),
    ];
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut libraries: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        libraries.sort();
        let small = |path: &PathBuf| {
            path.to_string_lossy().contains(".so")
                && fs::metadata(path).is_ok_and(|meta| meta.len() < 64 << 10)
        };
        files.extend(libraries.into_iter().filter(small).take(20));
    }
    for file in files {
        let bytes = fs::read(&file)?;
        if bytes.starts_with(b"\x7fELF") && bytes.len() as u64 <= LARGEST {
            fs::write(seeds.join(file.file_name().unwrap_or_default()), bytes)?;
        }
    }
    Ok(())
}
