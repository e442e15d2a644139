//! **morselctl**: what is done with ld-morsel besides loading programs. The loader stays small; whatever is not needed to
//! start a program is here.
//!
//! `cli` says what can be asked for; each subcommand is a module.

use std::process::ExitCode;

use clap::FromArgMatches;
use morselctl::elf_file;

mod admin;
mod cli;
mod explain;
mod fuse;
mod image;
mod inspect;
mod install;
mod manual;
mod progress;
mod record;
mod write;

fn main() -> ExitCode {
    // Who reads no further ends a pipeline quietly.
    sigpipe::reset();
    let args = cli::Args::from_arg_matches(&manual::command().get_matches());
    match cli::run(args.unwrap_or_else(|error| error.exit())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("morselctl: {error:#}");
            // As for a command line that makes no sense.
            if error.is::<admin::ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
