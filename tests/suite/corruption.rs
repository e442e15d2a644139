//! Runs the loader on thousands of damaged files: it must refuse them or run as before, never crash, never hang.
//!
//! Only the loader under test is run: stock musl crashes on many of these files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use difftest::case::{Case, discover};
use difftest::corruption::{Groups, Mutant, foreign_files, mutants, wild_constructors};
use difftest::run::{Ending, Outcome, run};
use difftest::scratch::Scratch;
use difftest::toolchain::ensure_built;
use difftest::trial;
use difftest::verdict::check;
use difftest::worlds::{BuildCopy, Loaders, Mode, Version, build_root, workspace_root};
use libtest_mimic::{Arguments, Trial};

/// What may be done with a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    /// Refuse it, or run as if nothing had happened.
    RefuseOrRun,
    /// Refuse it.
    Refuse,
}

/// How a damaged file is given to the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// As a library that the specimen's program needs.
    Library,
    /// As the program.
    Program,
}

/// How many damaged files were refused, ran unharmed, and made the loader fail.
static COUNTS: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

fn main() -> Result<ExitCode> {
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials()?);
    let [refused, unharmed, failed] = COUNTS.each_ref().map(|count| count.load(Ordering::Relaxed));
    println!("damaged files: {refused} refused, {unharmed} ran unharmed, {failed} failed\n");
    Ok(conclusion.exit_code())
}

fn trials() -> Result<Vec<Trial>> {
    let loaders = Arc::new(Loaders::find()?);
    let mut trials = Vec::new();
    for case in discover(&workspace_root().join("tests/specimens"))? {
        let case = Arc::new(case);
        let (shared, shared_loaders) = (Arc::clone(&case), Arc::clone(&loaders));
        trials.push(trial(format!("{}: untouched", case.name), move || {
            let root = build_root().join("specimens");
            check(&shared, Version::V1_2_3, Mode::Direct, &shared_loaders, &root)
        }));
        if !loaders.is_self_check() {
            trials.extend(damaged(&case, &loaders)?);
        }
    }
    Ok(trials)
}

fn damaged(case: &Case, loaders: &Arc<Loaders>) -> Result<Vec<Trial>> {
    let dir = ensure_built(case, BuildCopy::Morsel, loaders, &build_root().join("specimens"))?;
    let role = if case.name.ends_with("program") { Role::Program } else { Role::Library };
    let file = dir.join(if role == Role::Program { "prog" } else { "libtarget.so" });
    let original = fs::read(&file).with_context(|| file.display().to_string())?;
    let kinds: Vec<(Allowed, Groups)> = match case.name.as_str() {
        "constructors" => vec![(Allowed::RefuseOrRun, wild_constructors(&original)?)],
        _ => vec![
            (Allowed::RefuseOrRun, mutants(&original, role == Role::Program)?),
            (Allowed::Refuse, foreign_files(&original)?),
        ],
    };
    let mut trials = Vec::new();
    for (allowed, groups) in kinds {
        for (group, mutants) in groups {
            let name = format!("{}: {group}", case.name);
            let (dir, loaders, title) = (dir.clone(), Arc::clone(loaders), name.clone());
            trials.push(trial(name, move || run_group(&title, &mutants, role, allowed, &dir, &loaders)));
        }
    }
    Ok(trials)
}

/// Runs every mutant of a group; keeps the files that make the loader fail.
fn run_group(
    title: &str,
    mutants: &[Mutant],
    role: Role,
    allowed: Allowed,
    dir: &Path,
    loaders: &Loaders,
) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut failures = Vec::new();
    let (mut refused, mut unharmed) = (0, 0);
    for (index, mutant) in mutants.iter().enumerate() {
        let outcome = run_mutant(mutant, role, dir, scratch.path(), loaders)?;
        match judge(&outcome, role, allowed) {
            Ok(true) => refused += 1,
            Ok(false) => unharmed += 1,
            Err(problem) => {
                let kept = keep(title, index, mutant, role)?;
                failures.push(format!("{}: {problem} ({})", mutant.name, kept.display()));
            }
        }
    }
    for (total, count) in COUNTS.iter().zip([refused, unharmed, failures.len()]) {
        total.fetch_add(count, Ordering::Relaxed);
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} damaged files ({refused} refused, {unharmed} unharmed):\n{}",
        failures.len(),
        mutants.len(),
        failures.join("\n")
    )
}

fn run_mutant(mutant: &Mutant, role: Role, dir: &Path, scratch: &Path, loaders: &Loaders) -> Result<Outcome> {
    let file = scratch.join(if role == Role::Program { "corrupt" } else { "libtarget.so" });
    fs::write(&file, &mutant.bytes).with_context(|| file.display().to_string())?;
    let mut command = Command::new(loaders.for_copy(BuildCopy::Morsel)?);
    match role {
        Role::Library => command.arg("--library-path").arg(scratch).arg("./prog"),
        Role::Program => command.arg("--library-path").arg(dir).arg(&file),
    };
    command.current_dir(dir).env_clear().envs(loaders.settings(Version::V1_2_3)?);
    run(&mut command, Duration::from_secs(10))
}

/// Whether the file was refused (`true`) or run as before (`false`); anything else is an error.
fn judge(outcome: &Outcome, role: Role, allowed: Allowed) -> Result<bool> {
    let name = if role == Role::Program { "corrupt" } else { "libtarget.so" };
    match outcome.ending {
        Ending::Exit(0) if allowed == Allowed::Refuse => bail!("was not refused"),
        Ending::Exit(0) => {
            ensure!(outcome.stdout == "ok\n", "ran, but wrote `{}`", outcome.stdout);
            Ok(false)
        }
        Ending::Exit(code) if code == 127 || (code == 1 && role == Role::Program) => {
            // musl's message about thread-local storage names argv[0] only.
            let named = outcome.stderr.contains(name) || outcome.stderr.contains("thread-local storage");
            ensure!(named, "the message does not name the file: `{}`", outcome.stderr.trim_end());
            Ok(true)
        }
        other => bail!("{other}, stderr `{}`", outcome.stderr.trim_end()),
    }
}

/// Saves a file that made the loader fail, to be looked at.
fn keep(title: &str, index: usize, mutant: &Mutant, role: Role) -> Result<PathBuf> {
    let folder = build_root().join("damaged").join(title.replace([' ', ':'], "_")).join(index.to_string());
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join(if role == Role::Program { "corrupt" } else { "libtarget.so" });
    fs::write(&path, &mutant.bytes).with_context(|| path.display().to_string())?;
    Ok(path)
}
