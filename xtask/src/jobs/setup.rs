//! `cargo xtask setup`: makes a fresh Debian 12 ready for all other jobs. Asks before it fetches: where everything
//! is there already, no package manager and no network is touched.

use std::fs;

use anyhow::{Context, Result};

use crate::apt::{self, Release};
use crate::{paths, proc, ui};

/// What the demonstration needs: stock musl, and what makes a real program run under either loader.
const DEMO: &[&str] = &["musl", "patchelf", "python3", "python3-pip", "strace"];

/// What the tests, the corpus and the benchmark need as well.
///
/// tcl is for building sqlite3, the rest explains itself.
const ALL: &[&str] = &[
    "musl-dev",
    "musl-tools",
    "gcc",
    "g++",
    "libc6-dev",
    "linux-libc-dev",
    "make",
    "pkg-config",
    "autoconf",
    "automake",
    "gdb",
    "clang",
    "lld",
    "mold",
    "binutils",
    "dpkg-dev",
    "patch",
    "file",
    "groff-base",
    "util-linux",
    "bsdutils",
    "mount",
    "bzip2",
    "xz-utils",
    "tcl",
];

/// The job.
pub fn run() -> Result<bool> {
    everything()?;
    println!("Everything is set up; the cache is {}", paths::cache()?.display());
    Ok(true)
}

/// Sets up everything.
pub fn everything() -> Result<()> {
    apt::install(&[DEMO, ALL].concat())?;
    components()?;
    musl_1_2_5()
}

/// Sets up what the demonstration needs.
pub fn for_demo() -> Result<()> {
    apt::install(DEMO)
}

/// rustfmt and clippy, which a minimal toolchain lacks.
fn components() -> Result<()> {
    let there = |sub: &str| proc::output(proc::cargo().args([sub, "--version"])).is_ok();
    if !there("fmt") || !there("clippy") {
        ui::step("Installing", "rustfmt and clippy");
        proc::run(proc::command("rustup").args(["component", "add", "rustfmt", "clippy"]))
            .context("cargo fmt and cargo clippy are needed")?;
    }
    Ok(())
}

/// musl 1.2.5 of Debian 13: the libc for objects with DT_RELR, which Debian 12's 1.2.3 cannot read. Unpacked into the
/// cache, never installed.
fn musl_1_2_5() -> Result<()> {
    let libc = paths::musl_1_2_5()?;
    if libc.exists() {
        return Ok(());
    }
    let dir = paths::cache()?.join("musl-1.2.5");
    let unpacked = dir.with_extension("new");
    // What an interrupted attempt left is in the way of the rename below.
    let _ = fs::remove_dir_all(&unpacked);
    let _ = fs::remove_dir_all(&dir);
    Release::open("trixie")?.unpack("musl", &unpacked)?;
    fs::rename(&unpacked, &dir)?;
    ui::step("Fetched", format!("musl 1.2.5 ({})", libc.display()));
    Ok(())
}
