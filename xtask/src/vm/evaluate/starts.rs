//! Starts of programs in every way that files can be mapped, alone and while other processes of the program live.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::ways::{self, AUTO, AUTO_READY, FILE, Faults, MORSEL, Way};
use super::{Bench, Measured, compare};
use crate::corpus::manifest::Manifest;
use crate::corpus::{self, packages};
use crate::paths;
use crate::vm::disk::Root;
use crate::vm::icount::{self, Counts, Hold, Target};
use crate::vm::text::{Link, Program, Text};
use crate::vm::{Scratch, programs};

/// Processes of the same program that are alive while one is counted.
const OTHERS: &[usize] = &[0, 9, 99];
const ONE: &[usize] = &[0, 1];
const FEW: &[usize] = &[0, 9];

/// A program to start.
pub struct Case {
    /// Its name, and what it does.
    pub name: String,
    /// Its path and arguments.
    pub command: Vec<String>,
    environment: Vec<String>,
    hold: Hold,
    rounds: usize,
    /// How many others there are meanwhile, in turn.
    pub others: &'static [usize],
    /// Whether it has text in pieces of 2 MiB: then ways that save page faults must do so.
    large: bool,
}

/// Starts of a program in one way, beside so many others.
pub struct Start<'a> {
    case: &'a Case,
    /// How files are mapped.
    pub way: Way,
    others: usize,
}

/// What was counted, for the file that has all of it.
#[derive(Serialize)]
struct Figures<'a> {
    table: &'a str,
    program: &'a str,
    way: &'static str,
    others: usize,
    #[serde(flatten)]
    counts: &'a Counts,
}

impl Start<'_> {
    /// Whether it is a start of this program.
    pub fn is(&self, case: &Case) -> bool {
        std::ptr::eq(self.case, case)
    }

    fn target(&self, loader: &Path) -> Target {
        let loader = self.way.loader(loader);
        let mut environment = self.case.environment.clone();
        environment.extend(self.way.environment());
        Target {
            root: self.way.root,
            setting: self.way.setting(),
            name: format!("{}, {}, {} others", self.case.name, self.way.name, self.others),
            command: std::iter::once(loader.display().to_string()).chain(self.case.command.clone()).collect(),
            environment,
            rounds: self.case.rounds,
            others: (self.others, self.case.hold),
            others_map: self.way.others_map,
        }
    }
}

/// Small and ordinary programs.
pub fn programs(bench: &Bench) -> Result<Measured> {
    let scratch = Scratch::create("evaluate-programs")?;
    let mut root = Root::create(&scratch.0)?;
    let mut cases = Vec::new();
    for (name, rounds) in [("hello", 40), ("grid-100", 3)] {
        let program = programs::generated(name)?;
        root.musl_program(&program, Path::new(paths::STOCK))?;
        cases.push(case(name, &program, &[], Hold::Mark, rounds));
    }
    let manifest = Manifest::read()?;
    packages::provide(&manifest, ["clang-format"])?;
    let formatter = corpus::dir()?.join("clang-format/clang_format/data/bin/clang-format");
    root.musl_program(&formatter, Path::new(paths::STOCK))?;
    cases.push(case("clang-format", &formatter, &[], Hold::Input, 5));
    let note = "2 MiB of clang-format can be shared, nothing of the others.";
    compare::by_way("Programs", note, &cases, &count(bench, root, &cases, &ways::ALL)?)
}

/// Programs with a library of much text, of which they call a part.
pub fn large_text(bench: &Bench) -> Result<Measured> {
    let sizes: &[u64] = if bench.quick { &[32] } else { &[32, 128] };
    let mut measured = Measured::default();
    for &mib in sizes {
        let text = Text::build(mib << 10, Link::Ordinary)?;
        let scratch = Scratch::create("evaluate-text")?;
        let mut root = Root::create(&scratch.0)?;
        let percents = [(1, OTHERS), (10, FEW), (50, FEW), (100, OTHERS)];
        let cases = calls(&text, &mut root, "", &percents)?;
        let note = "An ordinary library of which so many pages are called, evenly spread.";
        let starts = count(bench, root, &cases, &ways::ALL[1..])?;
        measured.extend(compare::by_way(&format!("{mib} MiB of text"), note, &cases, &starts)?);
    }
    Ok(measured)
}

/// Libraries of growing size that the linker script has made.
pub fn sizes(bench: &Bench) -> Result<Measured> {
    let sizes: &[u64] = if bench.quick { &[1024, 4096] } else { &[1024, 2048, 4096, 8192, 16384] };
    let scratch = Scratch::create("evaluate-sizes")?;
    let mut root = Root::create(&scratch.0)?;
    let mut cases = Vec::new();
    for &kib in sizes {
        let text = Text::build(kib, Link::Script)?;
        cases.extend(calls(
            &text,
            &mut root,
            &format!("{} MiB, ", kib >> 10),
            &[1, 10, 100].map(|percent| (percent, ONE)),
        )?);
    }
    let starts = count(bench, root, &cases, &[FILE, MORSEL, AUTO, AUTO_READY])?;
    let title = "Sizes of text";
    Ok(Measured { tables: vec![compare::by_size(title, &cases, &starts)], figures: figures(title, &starts)? })
}

/// A large real program.
pub fn node(bench: &Bench) -> Result<Measured> {
    if bench.quick {
        return Ok(Measured::default());
    }
    let manifest = Manifest::read()?;
    packages::provide(&manifest, ["node"])?;
    let dir = corpus::dir()?.join("node");
    let scratch = Scratch::create("evaluate-node")?;
    let mut root = Root::create(&scratch.0)?;
    root.copy(Path::new(paths::STOCK))?;
    root.copy(&dir)?;
    let mut case = case("node", &dir.join("bin/node"), &[], Hold::Input, 1);
    let lib = dir.join("lib").display().to_string();
    case.large = true;
    case.others = FEW;
    case.environment = vec![format!("LD_LIBRARY_PATH={lib}"), format!("LD_PRELOAD={lib}/libbanl.so")];
    let cases = [case];
    let note = "An empty script. 72 MiB of text and read-only data can be shared.";
    compare::by_way("Node", note, &cases, &count(bench, root, &cases, &ways::ALL)?)
}

fn case(name: &str, program: &Path, arguments: &[String], hold: Hold, rounds: usize) -> Case {
    let command = std::iter::once(program.display().to_string()).chain(arguments.iter().cloned()).collect();
    Case {
        name: name.to_owned(),
        command,
        environment: Vec::new(),
        hold,
        rounds,
        others: OTHERS,
        large: false,
    }
}

/// The program that calls these percentages of a library's pages, each beside so many others.
fn calls(
    text: &Text,
    root: &mut Root,
    name: &str,
    percents: &[(u32, &'static [usize])],
) -> Result<Vec<Case>> {
    let program = text.program(Program::Plain)?;
    root.musl_program(&program, Path::new(paths::STOCK))?;
    let one = |&(percent, others): &(u32, &'static [usize])| {
        let name = format!("{name}{percent} % called");
        let case = case(&name, &program, &[percent.to_string()], Hold::Input, 15);
        Case { large: true, others, ..case }
    };
    Ok(percents.iter().map(one).collect())
}

/// A start and what was counted of it.
pub type Counted<'a> = (Start<'a>, Counts);

/// Counts all starts in one guest.
fn count<'a>(bench: &Bench, mut root: Root, cases: &'a [Case], ways: &[Way]) -> Result<Vec<Counted<'a>>> {
    root.copy(bench.loader)?;
    let mut starts = Vec::new();
    for case in cases {
        let others = case.others.iter().filter(|&&others| !bench.quick || others < 99);
        for &others in others {
            let ways = ways.iter().filter(|way| way.others_map.is_none() || others > 0);
            starts.extend(ways.map(|&way| Start { case, way, others }));
        }
    }
    let targets: Vec<_> = starts.iter().map(|start| start.target(bench.loader)).collect();
    let modules = [bench.module, bench.measure];
    let counts = icount::measure(bench.kernel, &modules, root.dir(), &targets)?;
    let starts: Vec<_> = starts.into_iter().zip(counts).collect();
    for (start, counts) in &starts {
        let (_, plain) = find(&starts, start.case, FILE, start.others).context("nothing to compare with")?;
        ensure!(plain.to_exit.median > 0, "nothing was counted for {}", plain.name);
        let effective = match start.way.faults {
            Faults::Any => true,
            Faults::Fewer => counts.faults < plain.faults,
            Faults::Other => counts.faults != plain.faults,
        };
        ensure!(
            effective || !start.case.large,
            "{}: {} page faults, and {} with `file`: the way has had no effect",
            counts.name,
            counts.faults,
            plain.faults
        );
    }
    Ok(starts)
}

/// A program's starts in one way, beside so many others.
pub fn find<'a, 'b>(
    starts: &'b [Counted<'a>],
    case: &Case,
    way: Way,
    others: usize,
) -> Option<&'b Counted<'a>> {
    let wanted = |(start, _): &&Counted| start.is(case) && start.way == way && start.others == others;
    starts.iter().find(wanted)
}

/// All that was counted, for the file that has it.
pub fn figures(table: &str, starts: &[Counted]) -> Result<Vec<serde_json::Value>> {
    let figures = starts.iter().map(|(start, counts)| {
        let (program, way, others) = (&*start.case.name, start.way.name, start.others);
        serde_json::to_value(Figures { table, program, way, others, counts })
    });
    Ok(figures.collect::<Result<_, _>>()?)
}
