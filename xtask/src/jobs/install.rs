//! `cargo xtask install` and `uninstall`: builds the loader and the tool, and lets `morselctl` do the work.

use std::path::PathBuf;

use anyhow::Result;

use super::build;
use crate::proc;

/// Options of both jobs.
#[derive(clap::Args)]
pub struct Args {
    /// The root directory; "/" for this system itself
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
}

/// The job `install`.
pub fn install(args: &Args) -> Result<bool> {
    let loader = build::loader()?;
    let tool = build::tool()?;
    proc::run(proc::command(tool).arg("install").arg("--root").arg(&args.root).arg("--loader").arg(loader))?;
    Ok(true)
}

/// The job `uninstall`.
pub fn uninstall(args: &Args) -> Result<bool> {
    proc::run(proc::command(build::tool()?).arg("uninstall").arg("--root").arg(&args.root))?;
    Ok(true)
}
