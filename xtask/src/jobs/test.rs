//! `cargo xtask test`: sets up and runs every check and test there is, in order, and ends with a summary. A step that
//! fails does not keep the later ones from running, unless they need what it makes; any failure fails the job.

use std::cell::OnceCell;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::corpus::Tally;
use crate::calls::way;
use crate::corpus::manifest::{Case, Kind, Manifest};
use crate::corpus::packages;
use crate::jobs::chroot;
use crate::vm::kernel::Flavour;
use crate::{elfcheck, jobs, paths, proc, ui, vm};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// All corpus cases rather than the quick ones, as in CI (where `CI` is set)
    #[arg(long)]
    corpus: bool,
    /// The kernel with every check switched on, which is built first, rather than Debian's
    #[arg(long)]
    debug_kernel: bool,
    /// Only tests and cases whose name contains this text, and no checks of the source
    #[arg(long)]
    filter: Option<String>,
    /// Only these steps
    #[arg(long, value_delimiter = ',')]
    step: Vec<Step>,
    /// Stop at the first step that fails
    #[arg(long)]
    fail_fast: bool,
}

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// rustfmt, check only
    Fmt,
    /// clippy, warnings are errors
    Clippy,
    /// rustdoc, warnings are errors
    Doc,
    /// Unit and property tests
    Unit,
    /// The release build, and the properties of the loader's binary
    Binary,
    /// The differential suite: ld-morsel beside stock musl
    Diff,
    /// The suite once more, with an image for every program
    Images,
    /// The part of the suite in which an image is used, with all passes over it
    Passes,
    /// Real programs
    Corpus,
    /// morselctl: fused files, installation, linker scripts
    Tool,
    /// ld-morsel in the place of musl's loader: real programs and the differential suite
    Chroot,
    /// The figures of a start are those that are kept in benches/
    Figures,
    /// The kernel module's tests, and programs under the loader with the module, in guests
    Kernel,
    /// The fuzz targets compile
    Fuzz,
}

impl Step {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether it consists of tests with names, which a filter can choose from.
    fn has_names(self) -> bool {
        matches!(self, Self::Unit | Self::Diff | Self::Images | Self::Passes | Self::Corpus | Self::Tool)
    }
}

/// The differential suite, as `cargo` runs it.
const SUITE: [&str; 4] = ["test", "--package", "difftest", "--no-fail-fast"];

/// The suite's cases that start programs by their interpreter: else there is no image. One libc will do.
const WITH_IMAGES: &str = "[interp 1.2.3]";

/// All passes over images, as `morselctl build --passes` takes them.
fn every_pass() -> String {
    way::PASSES.join(",")
}

/// What the steps have in common.
struct Session<'a> {
    args: &'a Args,
    /// Built by the first step that needs it; a build that failed is not tried again.
    loader: OnceCell<Option<PathBuf>>,
}

impl Session<'_> {
    fn loader(&self) -> Result<&Path> {
        let build = || match jobs::build::loader() {
            Ok(path) => Some(path),
            Err(error) => {
                println!("{} {error:#}", ui::verdict(false));
                None
            }
        };
        self.loader.get_or_init(build).as_deref().context("there is no loader to test")
    }

    /// Tests that need the loader, and the other libc.
    fn with_loader(&self, mut command: Command, args: &[&str]) -> Result<Command> {
        command.args(args);
        command.env("LD_MORSEL", paths::reachable_by_all(self.loader()?)?);
        command.env("MORSELCTL", paths::reachable_by_all(&jobs::build::tool()?)?);
        command.env("DIFFTEST_MUSL125", paths::reachable_by_all(&paths::musl_1_2_5()?)?);
        Ok(command)
    }

    fn run(&self, step: Step) -> Result<Tally> {
        let filter = self.args.filter.as_deref();
        match step {
            Step::Fmt => check(proc::cargo().args(["fmt", "--all", "--check"])),
            // In two goes: together with xtask's, the features of the loader's libraries would be others than its own.
            Step::Clippy => {
                let lint = |packages: &[&str]| {
                    check(proc::cargo().arg("clippy").args(packages).args([
                        "--all-targets",
                        "--",
                        "-D",
                        "warnings",
                    ]))
                };
                Ok(lint(&["--workspace", "--exclude", "xtask"])? + lint(&["--package", "xtask"])?)
            }
            Step::Doc => {
                let mut doc = proc::cargo();
                check(doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
            }
            Step::Unit => {
                let library = tests(proc::cargo().args(["test", "--package", "ld-morsel", "--lib"]), filter)?;
                Ok(library + tests(proc::cargo().args(["test", "--package", "xtask"]), filter)?)
            }
            Step::Binary => binary(self.loader()?),
            Step::Diff => tests(&mut self.with_loader(proc::cargo(), &SUITE)?, filter),
            Step::Images => {
                let mut suite = self.with_loader(proc::cargo(), &SUITE)?;
                suite.args(["--test", "cases"]).env("DIFFTEST_IMAGES", "1");
                tests(&mut suite, filter)
            }
            Step::Passes => {
                let mut suite = self.with_loader(proc::cargo(), &SUITE)?;
                suite
                    .args(["--test", "cases"])
                    .env("DIFFTEST_IMAGES", "1")
                    .env("DIFFTEST_PASSES", every_pass());
                tests(&mut suite, Some(filter.unwrap_or(WITH_IMAGES)))
            }
            Step::Corpus => corpus(self.args, self.loader()?),
            Step::Tool => {
                let suite = proc::cargo();
                tests(
                    &mut self.with_loader(suite, &["test", "--package", "morselctl", "--no-fail-fast"])?,
                    filter,
                )
            }
            Step::Chroot => {
                let loader = self.loader()?;
                let parts = [chroot::installation(loader)?, chroot::programs(loader)?];
                Ok(parts[0] + parts[1] + chroot::suite(loader, None)?)
            }
            Step::Figures => jobs::bench::check(self.loader()?),
            Step::Kernel => kernel(self.args, self.loader()?),
            Step::Fuzz => {
                if !paths::repo().join("fuzz/Cargo.toml").exists() {
                    println!("There is no fuzz/Cargo.toml yet.");
                    return Ok(Tally::default());
                }
                check(proc::cargo().args(["check", "--manifest-path", "fuzz/Cargo.toml"]))
            }
        }
    }
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    let session = Session { args, loader: OnceCell::new() };
    let begin = Instant::now();
    let mut total = Tally::default();
    let mut table = ui::Table::new(&["step", "passed", "failed", "time", ""]);
    let mut record = |name: String, result: Result<Tally>, time: Duration| {
        let tally = result.unwrap_or_else(|error| {
            println!("{} {error:#}", ui::verdict(false));
            Tally { passed: 0, failed: 1 }
        });
        total.passed += tally.passed;
        total.failed += tally.failed;
        let ok = tally.failed == 0;
        let counts = [tally.passed.to_string(), tally.failed.to_string()];
        table.row([&name, &counts[0], &counts[1], &ui::duration(time), &ui::verdict(ok)]);
        ok
    };
    let mut going = true;
    ui::heading("setup");
    if let Err(error) = jobs::setup::everything() {
        going = record("setup".to_owned(), Err(error), begin.elapsed());
    }
    let wanted = |step: &&Step| {
        (args.step.is_empty() || args.step.contains(step)) && (args.filter.is_none() || step.has_names())
    };
    for step in Step::value_variants().iter().filter(wanted) {
        if !going {
            break;
        }
        let name = step.name();
        ui::heading(&name);
        let begin = Instant::now();
        let ok = record(name, session.run(*step), begin.elapsed());
        going = ok || !args.fail_fast;
    }
    ui::heading("summary");
    table.print();
    ui::remark(format!("All in {}.", ui::duration(begin.elapsed())));
    println!("{total}");
    Ok(total.failed == 0)
}

/// A command that passes or fails as a whole.
fn check(command: &mut Command) -> Result<Tally> {
    ui::note(proc::display(command));
    let status = command.stdin(Stdio::null()).status()?;
    let mut tally = Tally::default();
    tally.count(status.success());
    Ok(tally)
}

/// A `cargo test`, whose results are shown as they come, and counted.
pub fn tests(command: &mut Command, filter: Option<&str>) -> Result<Tally> {
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    ui::note(proc::display(command));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no output of cargo test")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some((passed, failed)) = result_line(&line) {
            tally.passed += passed;
            tally.failed += failed;
        }
    }
    // A test build that does not compile, or a test process that dies, prints no result.
    if !child.wait()?.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// The counts in `test result: ok. 12 passed; 0 failed; ...`.
pub fn result_line(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what| counts.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok());
    Some((count("passed")?, count("failed")?))
}

fn binary(loader: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    for elfcheck::Check { what, failure } in elfcheck::loader(loader)? {
        tally.count(failure.is_none());
        if let Some(why) = failure {
            println!("{} {what}: {why}", ui::verdict(false));
        }
    }
    println!("{}: {tally}", loader.display());
    Ok(tally)
}

fn corpus(args: &Args, loader: &Path) -> Result<Tally> {
    let manifest = Manifest::read()?;
    let named = |case: &&Case| args.filter.as_ref().is_none_or(|filter| case.name.contains(filter));
    let all = args.corpus || std::env::var_os("CI").is_some();
    // The start-up workloads are programs of many libraries, whose bindings are of interest.
    let wanted = |case: &&Case| all || (case.quick && case.kind != Kind::Bench);
    let chosen: Vec<_> = manifest.cases.iter().filter(wanted).filter(named).collect();
    if chosen.is_empty() {
        return Ok(Tally::default());
    }
    packages::provide(&manifest, chosen.iter().flat_map(|case| case.needs.iter().map(String::as_str)))?;
    if !Path::new(paths::STOCK).exists() {
        bail!("there is no {} to compare with", paths::STOCK);
    }
    let passes = every_pass();
    let mut tally = super::corpus::run_cases(&chosen, loader, None, false, Some(&passes))?;
    // Once more with a library preloaded that tells what relocations were bound to.
    let bound = super::corpus::run_cases(&chosen, loader, None, true, Some(&passes))?;
    tally.passed += bound.passed;
    tally.failed += bound.failed;
    Ok(tally)
}

/// What a kernel with every check switched on can run of the suite in a time that one can wait for, and the checks of what
/// is shared.
const CHOSEN: [&str; 2] = ["threads/", "sharing"];

/// The module by itself, and with the loader.
fn kernel(args: &Args, loader: &Path) -> Result<Tally> {
    if args.debug_kernel {
        let mut tally = vm::selftest::run(Flavour::Debug, None, false)?;
        for chosen in CHOSEN {
            tally = tally + vm::loader::run(Flavour::Debug, loader, true, Some(chosen))?;
        }
        return Ok(tally);
    }
    let tally =
        vm::selftest::run(Flavour::V6_1, None, false)? + vm::selftest::run(Flavour::V6_12, None, false)?;
    Ok(tally + vm::loader::run(Flavour::V6_1, loader, true, None)?)
}

#[cfg(test)]
mod tests {
    use super::result_line;

    #[test]
    fn counts_are_read_from_libtests_summary() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(result_line(line), Some((12, 3)));
        assert_eq!(result_line("test bind::scope ... ok"), None);
    }
}
