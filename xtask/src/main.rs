//! The recurring jobs of ld-morsel. `cargo xtask help` lists them; each is a module in `jobs`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod applications;
mod apt;
mod bench;
mod calls;
mod corpus;
mod elfcheck;
mod jobs;
mod namespace;
mod paths;
mod proc;
mod ui;
mod vm;
mod ways;

/// The recurring jobs of ld-morsel.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Install what is missing on Debian 12, and fetch musl 1.2.5 into the cache
    Setup,
    /// Build the loader: target/release/ld-morsel
    Build,
    /// Run a real program under the loader, and show what it did beside stock musl
    Demo(jobs::demo::Args),
    /// Set up and run every check and test
    Test(jobs::test::Args),
    /// Build real programs into the cache, and run them under stock musl and under the loader
    Corpus(jobs::corpus::Args),
    /// Measure what a start costs, beside stock musl and others; or what passes over images are worth
    Bench(jobs::bench::Args),
    /// Build, and make ld-morsel the loader of a root directory
    Install(jobs::install::Args),
    /// Put the former loader of a root directory back
    Uninstall(jobs::install::Args),
    /// Make the release tarball: dist/ld-morsel-VERSION-x86_64.tar.xz
    Release,
    /// Run real programs and the differential suite with ld-morsel in the place of musl's loader, in roots of their own
    Chroot(jobs::chroot::Args),
    /// Measure the ways of sharing what relocation changes: the tables of docs/seven-ways.md
    Ways(jobs::ways::Args),
    /// Boot kernels: the module's tests, programs under the loader, counts of instructions
    Vm(jobs::vm::Args),
    /// Fuzz the ELF reader
    Fuzz(jobs::fuzz::Args),
}

fn main() -> ExitCode {
    proc::keep_descriptors_to_ourselves();
    let result = match Args::parse().job {
        Job::Setup => jobs::setup::run(),
        Job::Build => jobs::build::run(),
        Job::Demo(args) => jobs::demo::run(&args),
        Job::Test(args) => jobs::test::run(&args),
        Job::Corpus(args) => jobs::corpus::run(&args),
        Job::Bench(args) => jobs::bench::run(&args),
        Job::Install(args) => jobs::install::install(&args),
        Job::Uninstall(args) => jobs::install::uninstall(&args),
        Job::Release => jobs::release::run(),
        Job::Chroot(args) => jobs::chroot::run(&args),
        Job::Ways(args) => jobs::ways::run(&args),
        Job::Vm(args) => jobs::vm::run(&args),
        Job::Fuzz(args) => jobs::fuzz::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{} {error:#}", console::style("error:").red().bold());
            ExitCode::FAILURE
        }
    }
}
