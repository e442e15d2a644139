//! `morselctl inspect --code`: whether a library's code can be read with certainty, and what that would allow.

use std::path::Path;

use ld_morsel::elf::Vaddr;
use morselctl::code::{Code, moves};
use morselctl::separate::Separable;
use serde::Serialize;

use crate::elf_file::ElfFile;

/// What is known of a library's code.
#[derive(Serialize)]
pub struct Report<'a> {
    path: &'a Path,
    /// Whether every byte of it is accounted for.
    certain: bool,
    /// Whether code, what is read-only after relocation, and data could be moved apart.
    movable: bool,
    /// Whether code could also be moved away from read-only data.
    code_movable: bool,
    /// Functions of known size.
    functions: usize,
    /// Branches, and operands relative to the instruction pointer.
    references: usize,
    /// Distances that change if the parts are moved apart.
    distances: usize,
    /// Stubs for imported functions.
    stubs: usize,
    /// Why it is not certain, or not movable, or code that has a segment of its own is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

/// Finds it out.
pub fn describe(file: &ElfFile) -> Report<'_> {
    let path = &file.path;
    let mut report = Report {
        path,
        certain: false,
        movable: false,
        code_movable: false,
        functions: 0,
        references: 0,
        distances: 0,
        stubs: 0,
        why_not: None,
    };
    let code = match Code::read(&file.bytes) {
        Ok(code) => code,
        Err(error) => {
            report.why_not = Some(error.to_string());
            return report;
        }
    };
    report.certain = true;
    report.functions = code.functions().len();
    report.references = code.references().count();
    report.stubs =
        code.stubs().values().map(|stub| stub.jump).collect::<std::collections::BTreeSet<_>>().len();
    match moves::patches(&code, &units(file, &code)) {
        Ok(patches) => {
            (report.movable, report.distances) = (true, patches.len());
            if let Ok(library) = Separable::read(path, &file.bytes) {
                (report.code_movable, report.why_not) = (library.apart, library.together);
            }
        }
        Err(error) => report.why_not = Some(error.to_string()),
    }
    report
}

/// The parts, moved by little, since some are far from each other already: code, what is read-only after relocation, data.
fn units(file: &ElfFile, code: &Code<'_>) -> Vec<moves::Unit> {
    const STEP: i64 = 2 << 20;
    let end = code.sections().last().map_or(Vaddr(0), |section| section.range.end);
    let writable =
        code.sections().iter().find(|section| section.writable).map_or(end, |section| section.range.start);
    let sealed = file.segments.relro.as_ref().map_or(writable, |relro| relro.end);
    let data = sealed.max(writable).min(end);
    let parts = [Vaddr(0)..writable, writable..data, data..end].into_iter().zip([0, STEP, 2 * STEP]);
    parts.map(|(range, shift)| moves::Unit { range, shift }).collect()
}

/// Shows it to people.
pub fn show(report: &Report<'_>) {
    let verdict = match (report.certain, report.movable) {
        (false, _) => "uncertain",
        (true, false) => "certain, but its parts cannot be moved apart",
        (true, true) if report.code_movable => "certain, and its parts can be moved apart, code included",
        (true, true) => "certain, and its parts can be moved apart",
    };
    println!("{}: {verdict}", report.path.display());
    if report.certain {
        let Report { functions, references, stubs, distances, .. } = report;
        println!(
            "  {functions} functions, {references} references, {stubs} stubs, {distances} distances to change"
        );
    }
    if let Some(why_not) = &report.why_not {
        println!("  because {why_not}");
    }
}
