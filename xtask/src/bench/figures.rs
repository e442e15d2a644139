//! Figures that do not depend on how busy a machine is, kept in a file beside the code, so that a change that makes a
//! start dearer is noticed: instructions, system calls, page faults, dirtied memory. Times are no such figures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::callgrind;
use super::measure;
use super::peers::{Lab, Peer};
use super::trace;
use super::workload::{self, Workload};
use crate::{apt, paths, ui};

/// The workloads whose figures are kept: all synthetic ones that are quickly counted. Real ones take a corpus.
pub const KEPT: [&str; 8] =
    ["hello", "grid-10", "grid-100", "calls-100", "chain-100", "tls", "vtables", "relative"];

/// A figure may differ by this share before it counts as changed; but see [`slack`].
const TOLERANCE: f64 = 0.02;

/// The figures of one workload by name.
type Figures = BTreeMap<String, u64>;

/// The figures of all workloads by name.
type Book = BTreeMap<String, Figures>;

/// The file of the repository that holds the figures of the standard workloads.
pub fn file() -> PathBuf {
    paths::repo().join("benches/figures.json")
}

/// The workloads of [`KEPT`].
pub fn kept() -> Vec<Workload> {
    workload::standard().into_iter().filter(|workload| KEPT.contains(&workload.name.as_str())).collect()
}

/// What came of a comparison.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Figures that are as they were, or nearly.
    pub same: usize,
    /// Figures that are better; the file should be updated.
    pub better: usize,
    /// Figures that are worse, or not in the file.
    pub worse: usize,
}

/// Counts, and compares with the file.
pub fn check(lab: &mut Lab, workloads: &[Workload], file: &Path) -> Result<Verdict> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the figures {}; --update makes the file", file.display()))?;
    let book: Book = serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let counted = count(lab, workloads)?;
    let mut verdict = Verdict::default();
    let mut table = ui::Table::new(&["workload", "figure", "was", "is", "", ""]);
    for (workload, figures) in &counted {
        for (figure, &is) in figures {
            let was = book.get(workload).and_then(|figures| figures.get(figure)).copied();
            let Some(was) = was else {
                verdict.worse += 1;
                table.row([workload, figure, "-", &is.to_string(), "", "not in the file: --update"]);
                continue;
            };
            let slack = slack(figure, was as f64);
            let word = match is as f64 - was as f64 {
                more if more > slack => {
                    verdict.worse += 1;
                    ui::verdict(false)
                }
                more if more < -slack => {
                    verdict.better += 1;
                    "better: --update".to_owned()
                }
                _ => {
                    verdict.same += 1;
                    String::new()
                }
            };
            let change = format!("{:+.2} %", (is as f64 / was.max(1) as f64 - 1.0) * 100.0);
            table.row([workload, figure, &was.to_string(), &is.to_string(), &change, &word]);
        }
    }
    table.print();
    Ok(verdict)
}

/// Counts, and writes the file; figures of other workloads in it stay.
pub fn update(lab: &mut Lab, workloads: &[Workload], file: &Path) -> Result<()> {
    let mut book: Book = match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Book::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    book.extend(count(lab, workloads)?);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(file, serde_json::to_string_pretty(&book)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))
}

/// By how much a figure may differ. System calls and instructions are the same in every run on every machine, but for a
/// few that depend on processor and kernel.
fn slack(figure: &str, was: f64) -> f64 {
    match figure {
        // How many pages of a file one fault maps is the kernel's and the file system's choice: between machines,
        // this tells only large changes. What is written to is counted below.
        "page faults to main" | "page faults" => (was * 0.10).max(3.0),
        // The stack's pages depend on what the kernel puts there; a page of tables on where it puts the stack.
        "dirtied KiB at main" | "page tables KiB at main" => (was * TOLERANCE).max(8.0),
        _ => was * TOLERANCE,
    }
}

fn count(lab: &mut Lab, workloads: &[Workload]) -> Result<Book> {
    apt::install(&["valgrind"])?;
    let mut book = Book::new();
    for workload in workloads {
        let field = measure::field(lab, workload, &[Peer::Ours])?;
        let start = &field.ready.first().context("our loader cannot start it")?.start;
        let spinner = ui::spinner(format!("counting {}", workload.name));
        let counted = figures(start);
        spinner.finish_and_clear();
        book.insert(workload.name.clone(), counted.with_context(|| format!("workload {}", workload.name))?);
    }
    Ok(book)
}

fn figures(start: &workload::Start) -> Result<Figures> {
    let instructions = callgrind::instructions(start)?;
    // What disturbs a run only ever adds faults.
    let runs = (0..3).map(|_| trace::counts(start)).collect::<Result<Vec<_>>>()?;
    let least = |of: &dyn Fn(&trace::Counts) -> Option<u64>| runs.iter().filter_map(of).min();
    let figures = [
        ("instructions to main", instructions.main),
        ("instructions", Some(instructions.exit)),
        ("system calls to main", least(&|run| Some(run.main?.system_calls))),
        ("system calls", least(&|run| Some(run.exit.system_calls))),
        ("page faults to main", least(&|run| Some(run.main?.page_faults))),
        ("page faults", least(&|run| Some(run.exit.page_faults))),
        ("dirtied KiB at main", least(&|run| Some(run.memory?.dirtied))),
        ("page tables KiB at main", least(&|run| Some(run.memory?.page_tables))),
    ];
    Ok(figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}
