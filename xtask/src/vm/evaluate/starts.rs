//! Starts of programs under stock musl, and under the loader with and without morsels, alone and while others live.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Bench, Table, kilo, ratio};
use crate::corpus::manifest::Manifest;
use crate::corpus::{self, packages};
use crate::paths;
use crate::vm::disk::Root;
use crate::vm::icount::{self, Counts, Hold, Target};
use crate::vm::text::{Link, Program, Text};
use crate::vm::{Scratch, programs};

/// How files are mapped: by stock musl, by the loader plainly, and with morsels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Stock,
    File,
    Morsel,
}

impl Way {
    const ALL: [Self; 3] = [Self::Stock, Self::File, Self::Morsel];

    fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock musl",
            Self::File => "file",
            Self::Morsel => "morsel",
        }
    }
}

/// A program to start.
struct Case {
    name: String,
    /// Its path and arguments.
    command: Vec<String>,
    environment: Vec<String>,
    hold: Hold,
    rounds: usize,
    /// Whether morsels must save it page faults: otherwise nothing has been attached.
    shares: bool,
}

/// Starts of a program in one way, beside so many others.
struct Start<'a> {
    case: &'a Case,
    way: Way,
    others: usize,
}

impl Start<'_> {
    fn target(&self, loader: &Path) -> Target {
        let loader = if self.way == Way::Stock { Path::new(paths::STOCK) } else { loader };
        let mut environment = self.case.environment.clone();
        match self.way {
            Way::Stock => {}
            way => environment.push(format!("LD_MORSEL_MAP={}", way.name())),
        }
        Target {
            name: format!("{}, {}, {} others", self.case.name, self.way.name(), self.others),
            command: std::iter::once(loader.display().to_string()).chain(self.case.command.clone()).collect(),
            environment,
            rounds: self.case.rounds,
            others: (self.others, self.case.hold),
        }
    }
}

/// Small and ordinary programs.
pub fn programs(bench: &Bench) -> Result<Vec<Table>> {
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
    let others: &[usize] = if bench.quick { &[0, 9] } else { &[0, 9, 99] };
    let note = "2 MiB of clang-format can be shared, nothing of the others.";
    Ok(vec![table(bench, root, "Programs", note, &cases, &Way::ALL, others)?])
}

/// Programs with a library of much text, of which they call a part.
pub fn large_text(bench: &Bench) -> Result<Vec<Table>> {
    let sizes: &[u64] = if bench.quick { &[32] } else { &[32, 128] };
    let mut tables = Vec::new();
    for &mib in sizes {
        let text = Text::build(mib << 10, Link::Ordinary)?;
        let scratch = Scratch::create("evaluate-text")?;
        let mut root = Root::create(&scratch.0)?;
        let cases = shares(&text, &mut root, &format!("{mib} MiB"), &[1, 10, 50, 100])?;
        let others: &[usize] = if bench.quick || mib > 32 { &[0, 9] } else { &[0, 9, 99] };
        let note = "An ordinary library of which so many pages are called, evenly spread.";
        let title = format!("{mib} MiB of text");
        tables.push(table(bench, root, &title, note, &cases, &[Way::File, Way::Morsel], others)?);
    }
    Ok(tables)
}

/// Libraries of growing size that the linker script has made.
pub fn sizes(bench: &Bench) -> Result<Vec<Table>> {
    let sizes: &[u64] = if bench.quick { &[1024, 4096] } else { &[1024, 2048, 4096, 8192, 16384] };
    let scratch = Scratch::create("evaluate-sizes")?;
    let mut root = Root::create(&scratch.0)?;
    let mut cases = Vec::new();
    for &kib in sizes {
        let text = Text::build(kib, Link::Script)?;
        cases.extend(shares(&text, &mut root, &format!("{kib} KiB"), &[1, 10, 100])?);
    }
    let note = "Libraries linked by `linker-scripts/morsel.ld`, all of whose text can be shared.";
    let ways = &[Way::File, Way::Morsel];
    Ok(vec![table(bench, root, "Sizes of text", note, &cases, ways, &[0, 1])?])
}

/// A large real program.
pub fn node(bench: &Bench) -> Result<Vec<Table>> {
    if bench.quick {
        return Ok(Vec::new());
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
    case.shares = true;
    case.environment = vec![format!("LD_LIBRARY_PATH={lib}"), format!("LD_PRELOAD={lib}/libbanl.so")];
    let note = "An empty script. 72 MiB of text and read-only data can be shared.";
    Ok(vec![table(bench, root, "Node", note, &[case], &[Way::File, Way::Morsel], &[0, 1])?])
}

fn case(name: &str, program: &Path, arguments: &[String], hold: Hold, rounds: usize) -> Case {
    let command = std::iter::once(program.display().to_string()).chain(arguments.iter().cloned()).collect();
    Case { name: name.to_owned(), command, environment: Vec::new(), hold, rounds, shares: false }
}

/// The program that calls these percentages of a library's pages.
fn shares(text: &Text, root: &mut Root, name: &str, percents: &[u32]) -> Result<Vec<Case>> {
    let program: PathBuf = text.program(Program::Plain)?;
    root.musl_program(&program, Path::new(paths::STOCK))?;
    let one = |percent: &u32| {
        let name = format!("{name}, {percent} % called");
        let case = case(&name, &program, &[percent.to_string()], Hold::Input, 5);
        Case { shares: true, ..case }
    };
    Ok(percents.iter().map(one).collect())
}

/// Counts all starts in one guest.
fn table(
    bench: &Bench,
    mut root: Root,
    title: &str,
    note: &'static str,
    cases: &[Case],
    ways: &[Way],
    others: &[usize],
) -> Result<Table> {
    root.copy(bench.loader)?;
    let mut starts = Vec::new();
    for case in cases {
        for &others in others {
            starts.extend(ways.iter().map(|&way| Start { case, way, others }));
        }
    }
    let targets: Vec<_> = starts.iter().map(|start| start.target(bench.loader)).collect();
    let counts = icount::measure(bench.kernel, Some(bench.module), root.dir(), &targets)?;
    let head = [
        "",
        "others",
        "mapped",
        "to main",
        "ratio",
        "to exit",
        "ratio",
        "faults",
        "VmPTE",
        "PageTables of the others",
    ];
    let mut table = Table::new(title, note, &head);
    for (start, count) in starts.iter().zip(&counts) {
        let plain = plain(start, &starts, &counts)?;
        let saves = count.faults < plain.faults;
        ensure!(
            saves || !start.case.shares || start.way != Way::Morsel,
            "{}: {} page faults, and {} without morsels: nothing was attached",
            count.name,
            count.faults,
            plain.faults
        );
        table.rows.push(row(start, count, plain));
    }
    Ok(table)
}

/// The same start under the loader without morsels, which others are compared with.
fn plain<'a>(start: &Start, starts: &[Start], counts: &'a [Counts]) -> Result<&'a Counts> {
    let same = |other: &Start| {
        std::ptr::eq(other.case, start.case) && other.others == start.others && other.way == Way::File
    };
    let at = starts.iter().position(same).context("nothing to compare with")?;
    ensure!(counts[at].to_exit.median > 0, "nothing was counted for {}", counts[at].name);
    Ok(&counts[at])
}

fn row(start: &Start, count: &Counts, plain: &Counts) -> Vec<String> {
    let main = |count: &Counts| count.to_main.map(|count| count.median);
    let to_main_ratio = main(count).zip(main(plain)).map(|(main, of)| ratio(main, of));
    vec![
        start.case.name.clone(),
        start.others.to_string(),
        start.way.name().to_owned(),
        main(count).map(kilo).unwrap_or_default(),
        to_main_ratio.unwrap_or_default(),
        kilo(count.to_exit.median),
        ratio(count.to_exit.median, plain.to_exit.median),
        count.faults.to_string(),
        count.tables.map(|(own, _)| own.to_string()).unwrap_or_default(),
        count.tables.map(|(_, all)| all.to_string()).unwrap_or_default(),
    ]
}
