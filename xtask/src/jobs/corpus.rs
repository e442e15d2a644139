//! `cargo xtask corpus`: builds or fetches real musl programs into the cache, runs them under stock musl and in three
//! ways under the loader, and compares.

use std::path::Path;

use anyhow::{Result, bail};

use crate::corpus::manifest::{Case, Kind, Manifest, Musl};
use crate::corpus::{cases, packages};
use crate::{jobs, paths, ui};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Only build and fetch
    #[arg(long, conflicts_with = "run")]
    build: bool,
    /// Only run; what a case needs must have been built
    #[arg(long)]
    run: bool,
    /// The kind of cases: start needs no dlopen, full does, bench is a start-up workload [default: start]
    #[arg(long)]
    kind: Option<Kind>,
    /// Host this musl instead of the one that a case names
    #[arg(long)]
    musl: Option<Musl>,
    /// Compare what each relocation was bound to, too
    #[arg(long, conflicts_with = "build")]
    bindings: bool,
    /// Passes over the images, as `morselctl build --passes` takes them [default: the usual ones]
    #[arg(long, conflicts_with = "build")]
    passes: Option<String>,
    /// List the cases and do nothing
    #[arg(long, conflicts_with_all = ["build", "run"])]
    list: bool,
    /// Cases by name, of whatever kind
    names: Vec<String>,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    let manifest = Manifest::read()?;
    let chosen = choose(&manifest, args)?;
    if args.list {
        let mut table = ui::Table::new(&["case", "kind", "quick", "musl", "needs"]);
        for case in chosen {
            let kind = format!("{:?}", case.kind).to_lowercase();
            let musl = if musl_of(case, args) == Musl::V1_2_5 { "1.2.5" } else { "1.2.3" };
            let quick = if case.quick { "yes" } else { "" };
            table.row([&case.name, kind.as_str(), quick, musl, &case.needs.join(" ")]);
        }
        table.print();
        return Ok(true);
    }
    jobs::setup::everything()?;
    if !args.run {
        packages::provide(&manifest, chosen.iter().flat_map(|case| case.needs.iter().map(String::as_str)))?;
    }
    if args.build {
        println!("The corpus is in {}", crate::corpus::dir()?.display());
        return Ok(true);
    }
    let loader = jobs::build::loader()?;
    let tally = run_cases(&chosen, &loader, args.musl, args.bindings, args.passes.as_deref())?;
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// How many runs passed and failed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Those that passed.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
}

impl Tally {
    /// Counts one more.
    pub fn count(&mut self, ok: bool) {
        *if ok { &mut self.passed } else { &mut self.failed } += 1;
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs cases, whose packages are there, and prints what came of them. With `bindings`, what relocations were bound to is
/// compared, too. Images are made by these passes, or the usual ones.
pub fn run_cases(
    chosen: &[&Case],
    loader: &Path,
    musl: Option<Musl>,
    bindings: bool,
    passes: Option<&str>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let modes = cases::Mode::WITH_IMAGES;
    let mut columns = vec!["case"];
    columns.extend(modes.map(cases::Mode::name));
    columns.extend(bindings.then_some("bindings"));
    let mut table = ui::Table::new(&columns);
    let dumper = bindings.then(|| difftest::bindings::build_library(&crate::corpus::dir()?)).transpose()?;
    let (mut failures, mut without_image) = (Vec::new(), Vec::new());
    for case in chosen {
        let spinner = ui::spinner(format!("running {}", case.name));
        let musl = musl.unwrap_or(case.musl);
        let reports = cases::run(case, &modes, loader, musl, dumper.as_deref(), passes);
        spinner.finish_and_clear();
        let mut row = vec![case.name.clone()];
        let reports = reports?;
        let count = reports.iter().map(|report| report.bindings).max().unwrap_or_default();
        for report in reports {
            let ok = report.failure.is_none();
            tally.count(ok);
            row.push(if ok { ui::duration(report.time) } else { ui::verdict(false) });
            without_image.extend(report.without_image.iter().map(|why| format!("{}: {why}", case.name)));
            failures
                .extend(report.failure.map(|why| format!("{} ({}): {why}", case.name, report.mode.name())));
        }
        row.extend(bindings.then(|| count.to_string()));
        table.row(row);
    }
    table.print();
    ui::remark(
        "(Single runs, stock first: the times show only that nothing hangs. See `cargo xtask bench`.)",
    );
    for reason in without_image {
        ui::remark(format!("(No image: {reason})"));
    }
    for failure in &failures {
        println!("{} {failure}", ui::verdict(false));
    }
    Ok(tally)
}

fn choose<'a>(manifest: &'a Manifest, args: &Args) -> Result<Vec<&'a Case>> {
    if let Some(unknown) =
        args.names.iter().find(|&name| manifest.cases.iter().all(|case| case.name != *name))
    {
        let known: Vec<_> = manifest.cases.iter().map(|case| case.name.as_str()).collect();
        bail!("there is no case {unknown}; there are {}", known.join(" "));
    }
    let of_kind = |case: &Case| match (args.kind, args.list) {
        (Some(kind), _) => case.kind == kind,
        (None, listed) => listed || case.kind == Kind::Start,
    };
    let named = |case: &Case| args.names.contains(&case.name);
    let chosen: Vec<_> = manifest
        .cases
        .iter()
        .filter(|case| if args.names.is_empty() { of_kind(case) } else { named(case) })
        .filter(|case| args.musl.is_none_or(|musl| runs_on(case, musl)))
        .collect();
    if chosen.is_empty() {
        bail!("no case is left");
    }
    if chosen.iter().any(|case| musl_of(case, args) == Musl::V1_2_5)
        && args.run
        && !paths::musl_1_2_5()?.exists()
    {
        bail!("musl 1.2.5 is not there: `cargo xtask setup`");
    }
    Ok(chosen)
}

/// What needs musl 1.2.5 runs on nothing older; all else runs on both.
fn runs_on(case: &Case, musl: Musl) -> bool {
    case.musl == musl || musl == Musl::V1_2_5
}

fn musl_of(case: &Case, args: &Args) -> Musl {
    args.musl.unwrap_or(case.musl)
}
