//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{completions, fuse, image, inspect, install};

/// The tool beside the dynamic loader ld-morsel.
#[derive(Parser)]
#[command(name = "morselctl", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Load and bind programs' libraries ahead of time
    Build(image::BuildArgs),
    /// Write one ELF file that holds the loader and a stock libc.so
    Fuse(fuse::Args),
    /// Make ld-morsel the loader of a root directory
    Install(install::Args),
    /// Put the former loader of a root directory back
    Uninstall(install::RootArgs),
    /// Show how much of a library can be shared by page tables, and why not more
    Inspect(inspect::Args),
    /// Write a completion script to standard output
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// The directory to write them into
        dir: PathBuf,
    },
}

/// Does what was asked for.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Build(args) => image::run_build(&args),
        Command::Fuse(args) => fuse::run(&args),
        Command::Install(args) => install::run(&args),
        Command::Uninstall(args) => install::run_uninstall(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Completions { shell } => completions::script(shell),
        Command::Man { dir } => completions::manual(&dir),
    }
}
