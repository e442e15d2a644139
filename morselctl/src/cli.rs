//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::admin::{learn, refresh};
use crate::{explain, fuse, image, inspect, install, manual, record};

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
    /// Say whether images may be used, and why not
    Verify(image::FileArgs),
    /// Make sure that portable images fit the files of this machine or container
    Stamp(image::StampArgs),
    /// Build those images anew whose files have changed, and what the configuration lists
    Refresh(refresh::Args),
    /// Build in the background what starts have missed
    Learn(learn::Args),
    /// List the images in the usual place
    List(image::ListArgs),
    /// Remove images of programs from the usual place
    Drop(image::DropArgs),
    /// Run a program and write down which pages of its image it touches, for the pass `prefetch`
    Record(record::Args),
    /// Tell which library provides each symbol of a program, and where libraries are found
    Explain(explain::Args),
    /// Write one ELF file that holds the loader and a stock libc.so
    Fuse(fuse::Args),
    /// Make ld-morsel the loader of a root directory
    Install(install::Args),
    /// Put the former loader of a root directory back
    Uninstall(install::RootArgs),
    /// Show what is in an image; or how much of a library can be shared by page tables, and why not more
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
        Command::Verify(args) => image::run_verify(&args),
        Command::Stamp(args) => image::run_stamp(&args),
        Command::Refresh(args) => refresh::run(&args),
        Command::Learn(args) => learn::run(&args),
        Command::List(args) => image::run_list(&args),
        Command::Drop(args) => image::run_drop(&args),
        Command::Record(args) => record::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Fuse(args) => fuse::run(&args),
        Command::Install(args) => install::run(&args),
        Command::Uninstall(args) => install::run_uninstall(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Completions { shell } => {
            manual::completions(shell);
            Ok(())
        }
        Command::Man { dir } => manual::write(&dir),
    }
}
