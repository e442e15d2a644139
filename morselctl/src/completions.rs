//! What is derived from the command line's description: completion scripts and manual pages.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::cli::Args;

/// Writes a completion script to standard output.
pub fn script(shell: clap_complete::Shell) -> Result<()> {
    clap_complete::generate(shell, &mut Args::command(), "morselctl", &mut io::stdout());
    Ok(())
}

/// Writes a manual page for the tool, and one for each subcommand, into `dir`.
pub fn manual(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    clap_mangen::generate_to(Args::command(), dir)
        .with_context(|| format!("cannot write manual pages into {}", dir.display()))
}
