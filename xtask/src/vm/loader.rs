//! Runs programs under the loader in a guest: cases of the differential suite, by the suite itself, and real programs
//! of the corpus. What they need is built here and stands at the same paths in the guest.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Scratch;
use super::disk::Root;
use super::guest::{Ended, Guest, quote};
use super::kernel::{Flavour, Kernel};
use super::module::Build;
use super::sharing::Sharing;
use crate::corpus::cases::{self, Mode};
use crate::corpus::manifest::{Case, Manifest};
use crate::corpus::packages;
use crate::jobs::corpus::Tally;
use crate::proc::Outcome;
use crate::{corpus, paths, proc, ui};

/// Cases that are not run in a guest, by parts of their names: they call gdb and python3, which would take half of
/// this machine along.
const SKIPPED: &[&str] = &["debugger/", "own/statistics"];

/// Programs of this machine that the cases call; busybox is for all else.
const TOOLS: &[&str] = &[
    "/bin/busybox",
    "/bin/sh",
    "/bin/bash",
    "/usr/bin/grep",
    "/usr/bin/ls",
    "/usr/bin/patchelf",
    "/usr/bin/sed",
    "/usr/bin/setarch",
    "/usr/bin/setpriv",
    "/usr/bin/timeout",
    "/usr/bin/unshare",
];

/// Programs of the corpus that a slow guest can run.
const PROGRAMS: &[&str] = &["sqlite3", "zstd-roundtrip", "bash", "lua"];

/// Runs the suite's cases, and real programs, in one guest. With `module`, the kernel module is loaded and files are
/// mapped by it, which is checked. `filter` is part of the names of what to run.
pub fn run(flavour: Flavour, loader: &Path, module: bool, filter: Option<&str>) -> Result<Tally> {
    let kernel = Kernel::provide(flavour)?;
    let module = module.then(|| Build::module(&kernel)).transpose()?;
    let loader = &paths::reachable_by_all(loader)?;
    let scratch = Scratch::create("loader-root")?;
    let mut root = Root::create(&scratch.0)?;
    root.copy(loader)?;
    root.copy(Path::new(paths::STOCK))?;
    root.copy(&paths::reachable_by_all(&paths::musl_1_2_5()?)?)?;
    for tool in TOOLS {
        root.program(Path::new(tool))?;
    }
    let suite = Suite::prepare(&mut root, loader, filter)?;
    let manifest = Manifest::read()?;
    let named = |case: &&Case| filter.is_none_or(|filter| case.name.contains(filter));
    let chosen: Vec<_> =
        manifest.cases.iter().filter(|case| PROGRAMS.contains(&case.name.as_str())).filter(named).collect();
    let mut script = String::from(include_str!("loader.sh"));
    let file = module.as_ref().and_then(Build::file);
    let wanted = module.is_some() && filter.is_none_or(|filter| "sharing".contains(filter));
    let sharing = wanted.then(|| Sharing::prepare(&mut root, loader)).transpose()?;
    if let Some(sharing) = &sharing {
        // It may be built in.
        script += "[ ! -e /dev/morsel ] || mv /dev/morsel /dev/away\n";
        script += &sharing.script(false)?;
        script += "[ ! -e /dev/away ] || mv /dev/away /dev/morsel\n";
    }
    if file.is_some() {
        script += "insmod /morsel.ko || exit\n";
    }
    if let Some(sharing) = &sharing {
        script += &sharing.script(true)?;
    }
    let backend = match module {
        Some(_) => "LD_MORSEL_MAP=morsel",
        None => "",
    };
    if let Some(suite) = &suite {
        writeln!(script, "chroot /disk /bin/busybox env {backend} {}", suite.command())?;
    }
    if !chosen.is_empty() {
        script += &programs(&mut root, &manifest, &chosen, loader, backend)?;
    }
    ensure!(suite.is_some() || sharing.is_some() || !chosen.is_empty(), "nothing has that in its name");

    let mut guest = Guest::new("loader", &kernel, &script);
    if let Some(file) = file {
        guest.files.copy("morsel.ko", &file)?;
    }
    guest.modules = &["overlay"];
    guest.disk = Some(root.dir());
    guest.memory = 2048;
    guest.limit = Duration::from_secs(3600);
    guest.echo = true;
    let ended = guest.run()?;
    let mut tally = Tally::default();
    if suite.is_some() {
        tally = suite_result(&ended)?;
    }
    if let Some(sharing) = sharing {
        sharing.judge(|case, mode| outcome(case, mode, &ended.output), &mut tally)?;
    }
    for case in chosen {
        judge(case, &ended.output, &mut tally)?;
    }
    Ok(tally)
}

/// The differential suite's own test program, and the cases to run.
struct Suite {
    program: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    arguments: Vec<String>,
}

impl Suite {
    /// Builds the cases by running them here, and copies them. None if the filter leaves none.
    fn prepare(root: &mut Root, loader: &Path, filter: Option<&str>) -> Result<Option<Self>> {
        let products = paths::repo().join("target/difftest");
        let suite = Self {
            program: test_program()?,
            environment: vec![
                ("LD_MORSEL", loader.to_owned()),
                ("DIFFTEST_MUSL125", paths::reachable_by_all(&paths::musl_1_2_5()?)?),
                ("DIFFTEST_DIR", products.clone()),
            ],
            arguments: SKIPPED
                .iter()
                .flat_map(|part| ["--skip", part])
                .chain(filter)
                .map(str::to_owned)
                .collect(),
        };
        let list = proc::output(suite.here().arg("--list"))?;
        let mut cases: Vec<_> = list.lines().filter_map(|line| Some(line.split_once(" [")?.0)).collect();
        cases.dedup();
        if cases.is_empty() {
            return Ok(None);
        }
        ui::step("Building", format!("{} cases, by running them here", cases.len()));
        proc::output(suite.here().arg("--quiet")).context("the cases fail here already")?;
        root.program(&suite.program)?;
        root.copy(&paths::repo().join("tests/cases"))?;
        for case in cases {
            root.copy(&products.join(case))?;
        }
        Ok(Some(suite))
    }

    /// To run it on this machine.
    fn here(&self) -> Command {
        let mut command = proc::command(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).args(&self.arguments);
        command
    }

    /// To run it in the guest: the words after `env`.
    fn command(&self) -> String {
        let mut words: Vec<_> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={}", quote(&value.display().to_string())))
            .collect();
        words.push(self.program.display().to_string());
        words.extend(self.arguments.iter().map(|word| quote(word)));
        words.join(" ")
    }
}

/// Builds the suite's test program and returns its path, as cargo reports it.
fn test_program() -> Result<PathBuf> {
    let mut cargo = proc::cargo();
    cargo.args(["test", "--package", "difftest", "--test", "cases", "--no-run"]);
    let artifacts = proc::output(cargo.args(["--message-format", "json"]))?;
    let executable = artifacts.lines().find_map(|line| {
        let artifact: serde_json::Value = serde_json::from_str(line).ok()?;
        // The package's ordinary programs are built for its tests as well.
        artifact.pointer("/profile/test")?.as_bool().filter(|test| *test)?;
        Some(PathBuf::from(artifact.get("executable")?.as_str()?))
    });
    executable.context("cargo built no test program")
}

/// The counts that the suite printed.
fn suite_result(ended: &Ended) -> Result<Tally> {
    let result = ended.output.lines().find_map(crate::jobs::test::result_line);
    let (passed, failed) = result.with_context(|| {
        format!("the suite printed no result; the guest's output ends:\n{}", proc::tail(&ended.output, 15))
    })?;
    Ok(Tally { passed, failed })
}

/// Copies the programs of corpus cases, and returns the part of the script that runs them in all three modes.
fn programs(
    root: &mut Root,
    manifest: &Manifest,
    chosen: &[&Case],
    loader: &Path,
    backend: &str,
) -> Result<String> {
    packages::provide(manifest, chosen.iter().flat_map(|case| case.needs.iter().map(String::as_str)))?;
    let dir = corpus::dir()?;
    let mut script = String::new();
    for case in chosen {
        for mode in Mode::ALL {
            let command = cases::expand(&case.command, mode, loader, case.musl)?;
            let settings = if mode == Mode::Stock { "" } else { backend };
            writeln!(
                script,
                "run {} {} {} '{settings}' {}",
                case.name,
                mode.name(),
                dir.display(),
                quote(&command)
            )?;
        }
    }
    root.copy(&dir.join("root"))?;
    Ok(script)
}

/// Judges what the guest printed of a corpus case, as on this machine.
fn judge(case: &Case, output: &str, tally: &mut Tally) -> Result<()> {
    let mut stock = None;
    for mode in Mode::ALL {
        let outcome = outcome(&case.name, mode.name(), output)
            .with_context(|| format!("the guest did not run {} ({})", case.name, mode.name()))?;
        let failure = cases::judge(case, stock.as_ref(), &outcome);
        tally.count(failure.is_none());
        if let Some(why) = failure {
            println!("{} {} ({}): {why}", ui::verdict(false), case.name, mode.name());
        }
        stock.get_or_insert(outcome);
    }
    Ok(())
}

/// What stands between the lines that loader.sh prints round each run.
fn outcome(case: &str, mode: &str, output: &str) -> Option<Outcome> {
    let (_, run) = output.split_once(&format!("@run {case} {mode}\n"))?;
    let (stdout, rest) = run.split_once("@stderr\n")?;
    let (stderr, rest) = rest.split_once("@exit ")?;
    let end = format!("exit {}", rest.lines().next()?);
    Some(Outcome { end, stdout: stdout.to_owned(), stderr: stderr.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::outcome;

    #[test]
    fn runs_are_found_in_the_guests_output() {
        let output = "x\n@run a stock\nno\n@stderr\n@exit 1\n@run a direct\nyes\n@stderr\nbad\n@exit 0\n";
        let direct = outcome("a", "direct", output).unwrap();
        assert_eq!(
            (direct.end.as_str(), direct.stdout.as_str(), direct.stderr.as_str()),
            ("exit 0", "yes\n", "bad\n")
        );
        assert!(outcome("a", "interp", output).is_none());
    }
}
