//! Programs of many libraries, whose names are looked up in one table: every relocation must be bound to what stock musl
//! binds it to.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use difftest::bindings::{self, Dumps};
use difftest::grid::{Grid, Trait};
use difftest::run::{Ending, run};
use difftest::scratch::Scratch;
use difftest::trial;
use difftest::worlds::{BuildCopy, Loaders, Mode, Version, build_root};
use libtest_mimic::{Arguments, Trial};

fn main() -> Result<ExitCode> {
    Ok(libtest_mimic::run(&Arguments::from_args(), trials()?).exit_code())
}

fn trials() -> Result<Vec<Trial>> {
    let loaders = Arc::new(Loaders::find()?);
    let of_grid = |what: Trait| {
        let loaders = Arc::clone(&loaders);
        let name = format!("bindings/{}", format!("{what:?}").to_lowercase());
        trial(name, move || check(what, &loaders))
    };
    Ok(Trait::ALL.into_iter().map(of_grid).collect())
}

/// Runs a grid with all versions of musl, under stock musl and in both ways under the loader.
fn check(what: Trait, loaders: &Loaders) -> Result<()> {
    let root = build_root().join("bindings");
    let scratch = Scratch::new()?;
    let library = bindings::build_library(scratch.path())?;
    let grid = Grid { what, libraries: 28, names: 64 };
    let dir = grid.build(&root, loaders.for_copy(BuildCopy::Morsel)?)?;
    // Stock musl in the place of the loader hosts no other libc.
    for version in
        Version::ALL.into_iter().filter(|&version| version == Version::V1_2_3 || !loaders.is_self_check())
    {
        let mut stock = Command::new(loaders.libc(version)?);
        let (stock, _) = dump(stock.arg("./prog"), &dir, &library, scratch.path())?;
        ensure!(stock.count() > grid.libraries * grid.names / 2, "{} bindings are too few", stock.count());
        for mode in Mode::ALL {
            let mut command = match mode {
                Mode::Interp => Command::new("./prog"),
                Mode::Direct => Command::new(loaders.for_copy(BuildCopy::Morsel)?),
            };
            if mode == Mode::Direct {
                command.arg("./prog");
            }
            command.env_clear().envs(loaders.settings(version)?).env("LD_MORSEL_LOG", "debug");
            let world = format!("{} {}", mode.as_str(), version.as_str());
            let (ours, log) = dump(&mut command, &dir, &library, scratch.path()).context(world.clone())?;
            if let Some(differences) = ours.differences(&stock) {
                anyhow::bail!("{world}: {differences}");
            }
            let by_table = log.contains("all names in one table: ");
            ensure!(by_table || loaders.is_self_check(), "{world}: the names were not looked up in a table");
        }
    }
    Ok(())
}

/// Runs the program and returns its bindings, and what is on standard error.
fn dump(command: &mut Command, dir: &Path, library: &Path, scratch: &Path) -> Result<(Dumps, String)> {
    let folder = scratch.join("dumps");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    command.current_dir(dir).env("LD_PRELOAD", library).env(bindings::FOLDER, &folder);
    let outcome = run(command, Duration::from_secs(20))?;
    ensure!(outcome.ending == Ending::Exit(0), "{}, stderr:\n{}", outcome.ending, outcome.stderr);
    Ok((Dumps::read(&folder)?, outcome.stderr))
}
