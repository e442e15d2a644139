//! Programs of many libraries, whose names are looked up in one table: every relocation must be bound to what stock musl
//! binds it to. Likewise if the program has an image, and what is preloaded beside it defines the same names.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use difftest::bindings::{self, Dumps};
use difftest::grid::{Grid, Trait};
use difftest::images;
use difftest::run::{Ending, run};
use difftest::scratch::Scratch;
use difftest::trial;
use difftest::worlds::{BuildCopy, Loaders, Mode, Version, build_root, morselctl};
use libtest_mimic::{Arguments, Trial};

fn main() -> Result<ExitCode> {
    Ok(libtest_mimic::run(&Arguments::from_args(), trials()?).exit_code())
}

fn trials() -> Result<Vec<Trial>> {
    let loaders = Arc::new(Loaders::find()?);
    let of_grid = |what: Trait| {
        let name = format!("{what:?}").to_lowercase();
        let for_check = Arc::clone(&loaders);
        let loaders = Arc::clone(&loaders);
        let in_image = trial(format!("bindings/image/{name}"), move || check_in_image(what, &loaders));
        [trial(format!("bindings/{name}"), move || check(what, &for_check)), in_image]
    };
    Ok(Trait::ALL.into_iter().flat_map(of_grid).collect())
}

/// The versions of musl to be tried. Stock musl in the place of the loader hosts no other libc.
fn versions(loaders: &Loaders) -> impl Iterator<Item = Version> {
    let itself = loaders.is_self_check();
    Version::ALL.into_iter().filter(move |&version| version == Version::V1_2_3 || !itself)
}

/// Two trials share a grid: it is built once.
fn grid(what: Trait, loaders: &Loaders) -> Result<(Grid, PathBuf)> {
    static BUILDING: [Mutex<()>; Trait::ALL.len()] = [const { Mutex::new(()) }; Trait::ALL.len()];
    let _one = BUILDING[what as usize].lock();
    let grid = Grid { what, libraries: 28, names: 64 };
    let dir = grid.build(&build_root().join("bindings"), loaders.for_copy(BuildCopy::Morsel)?)?;
    Ok((grid, dir))
}

/// Runs a grid with all versions of musl, under stock musl and in both ways under the loader.
fn check(what: Trait, loaders: &Loaders) -> Result<()> {
    let scratch = Scratch::new()?;
    let library = bindings::build_library(scratch.path())?;
    let (grid, dir) = grid(what, loaders)?;
    for version in versions(loaders) {
        let mut stock = Command::new(loaders.libc(version)?);
        let (stock, _) = dump(stock.arg("./prog"), &dir, library.as_ref(), scratch.path())?;
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
            let (ours, log) =
                dump(&mut command, &dir, library.as_ref(), scratch.path()).context(world.clone())?;
            if let Some(differences) = ours.differences(&stock) {
                anyhow::bail!("{world}: {differences}");
            }
            let by_table = log.contains("all names in one table: ");
            ensure!(by_table || loaders.is_self_check(), "{world}: the names were not looked up in a table");
        }
    }
    Ok(())
}

/// Runs a grid that has an image, at its own place and at a random one, with different libraries preloaded.
fn check_in_image(what: Trait, loaders: &Loaders) -> Result<()> {
    if loaders.is_self_check() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let library = bindings::build_library(scratch.path())?;
    let (grid, dir) = grid(what, loaders)?;
    let others = grid.others();
    let path = |number: usize| dir.join(format!("lib{number}.so"));
    let (first, second) = (path(others.start), path(others.start + 1));
    for version in versions(loaders) {
        let image = scratch.path().join(version.as_str());
        let settings = loaders.settings(version)?;
        let mut builder = Command::new(morselctl()?);
        builder.arg("build").arg(dir.join("prog")).arg("-o").arg(&image);
        for (_, libc) in settings.iter().filter(|(name, _)| name == "LD_MORSEL_LIBC") {
            builder.args(["--libc", libc]);
        }
        let built = builder.output().context("morselctl")?;
        ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        images::verify(&image)?;
        for preloaded in [&[][..], &[&second], &[&first], &[&second, &first], &[&first, &second]] {
            let libraries = [&library].into_iter().chain(preloaded.iter().copied());
            let libraries: Vec<&OsStr> = libraries.map(|path| path.as_os_str()).collect();
            let preload = libraries.join(OsStr::new(":"));
            let mut stock = Command::new(loaders.libc(version)?);
            let (stock, _) = dump(stock.arg("./prog"), &dir, &preload, scratch.path())?;
            for place in ["image", "process"] {
                let mut command = Command::new("./prog");
                command.env_clear().envs(settings.clone()).env("LD_MORSEL_ASLR", place);
                command.env("LD_MORSEL_IMAGE", format!("require:{}", image.display()));
                let (ours, _) = dump(&mut command, &dir, &preload, scratch.path())?;
                if let Some(differences) = ours.differences(&stock) {
                    anyhow::bail!("{} {place} {preload:?}: {differences}", version.as_str());
                }
            }
        }
    }
    Ok(())
}

/// Runs the program and returns its bindings, and what is on standard error.
fn dump(command: &mut Command, dir: &Path, preload: &OsStr, scratch: &Path) -> Result<(Dumps, String)> {
    let folder = scratch.join("dumps");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    command.current_dir(dir).env("LD_PRELOAD", preload).env(bindings::FOLDER, &folder);
    let outcome = run(command, Duration::from_secs(20))?;
    ensure!(outcome.ending == Ending::Exit(0), "{}, stderr:\n{}", outcome.ending, outcome.stderr);
    Ok((Dumps::read(&folder)?, outcome.stderr))
}
