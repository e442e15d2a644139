//! **morselctl**: what is done with ld-morsel besides loading programs. The loader stays small; whatever is not needed to
//! start a program is here.
//!
//! `cli` says what can be asked for; each subcommand is a module.

use std::process::ExitCode;

use clap::Parser;

mod admin;
mod cli;
mod completions;
mod elf_file;
mod explain;
mod fuse;
mod image;
mod inspect;
mod install;
mod progress;
mod write;

fn main() -> ExitCode {
    match cli::run(cli::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("morselctl: {error:#}");
            // As for a command line that makes no sense.
            if error.is::<admin::ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
