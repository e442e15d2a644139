//! Pages that starts touch before `main`, as `morselctl record` has seen them, are mapped at once where they are dense, instead of
//! by one page fault after the other. Whether that pays has been measured when they were recorded; where it does not, nothing is
//! done.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ld_morsel::elf::{PAGE_SIZE, Segments};
use ld_morsel::image::format::Populate;
use ld_morsel::sys::MemoryFlags;

use super::Pass;
use crate::image::build::{Built, Served};
use crate::image::library::{Library, content};
use crate::image::pages::{Content, all_runs};
use crate::image::{Numbers, path_of};
use crate::record::recording::{self, Mode};

/// A page fault maps what is in the page cache of so many pages around: read ahead of them, nothing is gained within such a piece.
const AROUND: u64 = 16 * PAGE_SIZE;
/// The fewest pieces for which a call is made.
const FEWEST_PIECES: u64 = 4;
/// The fewest pages that will be written to for which a call is made; each would have a fault of its own.
const FEWEST_WRITTEN: u64 = 4;

struct Prefetch {
    file: Option<PathBuf>,
    modes: Vec<Mode>,
    report: Vec<String>,
}

/// Its value is the path of a recording.
pub fn make(value: Option<&str>) -> Result<Box<dyn Pass>> {
    let file = value.map(Path::new);
    if file.is_some_and(|file| !file.is_absolute()) {
        anyhow::bail!("the pass `prefetch` needs the absolute path of a recording: prefetch=FILE");
    }
    Ok(Box::new(Prefetch { file: file.map(Path::to_owned), modes: Vec::new(), report: Vec::new() }))
}

impl Pass for Prefetch {
    fn begin(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            let modes = recording::read(file)?;
            self.modes = modes.with_context(|| format!("{}: there is no such recording", file.display()))?;
        }
        Ok(())
    }

    fn change(&mut self, built: &mut Built) -> Result<()> {
        for index in 0..built.programs.len() {
            let path = path_of(&built.programs[index].path).to_owned();
            let recorded = match &self.file {
                Some(_) => self.modes.clone(),
                None => self.usual(&path),
            };
            let modes: Vec<Mode> = recorded.into_iter().filter(|mode| mode.program == path).collect();
            built.programs[index].populate = self.populate(built, &built.programs[index], &path, &modes);
        }
        Ok(())
    }

    fn report(&self) -> Vec<String> {
        self.report.clone()
    }
}

impl Prefetch {
    /// What has been recorded in the usual place, if anything. Nobody has asked for it: an image without it is better than none.
    fn usual(&mut self, program: &Path) -> Vec<Mode> {
        let Ok(file) = recording::usual_file(program) else { return Vec::new() };
        recording::read(&file).map(Option::unwrap_or_default).unwrap_or_else(|error| {
            self.report.push(format!("off: {error:#}"));
            Vec::new()
        })
    }

    fn populate(&mut self, built: &Built, served: &Served, path: &Path, modes: &[Mode]) -> Vec<Populate> {
        let path = path.display();
        if modes.is_empty() {
            if self.file.is_some() {
                self.report.push(format!("{path}: nothing has been recorded"));
            }
            return Vec::new();
        }
        let wanted: Vec<&Mode> = modes.iter().filter(|mode| mode.is_wanted()).collect();
        if wanted.is_empty() {
            self.report.push(format!("{path}: off, since it did not pay when it was recorded"));
            return Vec::new();
        }
        let touched = self.touched(built, served, &wanted);
        let ranges = dense(built, served, &touched);
        let pages: u64 = ranges.iter().map(|range| (range.pages.end - range.pages.start) / PAGE_SIZE).sum();
        let (some, all) = (wanted.len(), modes.len());
        self.report.push(format!(
            "{path}: {pages} pages in {} calls, of {} that starts touch, by {some} of {all} modes",
            ranges.len(),
            touched.len(),
        ));
        ranges
    }

    /// The pages that some mode touches, counted from the image's start, and whether they are written to.
    fn touched(&mut self, built: &Built, served: &Served, modes: &[&Mode]) -> BTreeMap<u64, bool> {
        // Programs may find the same library by different paths.
        let libraries = served.program.objects().zip(&served.libraries);
        let libraries = libraries
            .filter_map(|(object, library)| Some((path_of(&object.name), &built.libraries[(*library)?])));
        let libraries: HashMap<&Path, &Library> = libraries.collect();
        let mut touched = BTreeMap::new();
        for mode in modes {
            for recorded in &mode.libraries {
                let Some(library) = libraries.get(&*recorded.path) else { continue };
                let Ok(segments) = Segments::parse(&library.header_table) else { continue };
                let numbers = Numbers::of(&segments);
                let fingerprint =
                    numbers.fingerprint(&library.header_table, |header| content(&library.units, header));
                if recording::digits(fingerprint) != recorded.fingerprint {
                    let line = format!("{}: another build has been recorded", recorded.path.display());
                    if !self.report.contains(&line) {
                        self.report.push(line);
                    }
                    continue;
                }
                for (number, vaddr) in numbers.pages(&library.plan) {
                    let place = library.place.wrapping_add(vaddr);
                    if mode.counts(&recorded.written, number) {
                        touched.insert(place, true);
                    } else if mode.counts(&recorded.main, number) {
                        touched.entry(place).or_insert(false);
                    }
                }
            }
        }
        touched
    }
}

/// The ranges that are worth a call. What the loader provides of itself, libc's data, is not among them.
fn dense(built: &Built, served: &Served, touched: &BTreeMap<u64, bool>) -> Vec<Populate> {
    let mut read = Ranges::default();
    let mut written = Ranges::default();
    for run in all_runs(built, served).iter().filter(|run| run.content != Content::Written) {
        if !run.access.contains(MemoryFlags::READ) {
            // The call would end there.
            read.end_at(run.pages.end);
            continue;
        }
        let is_writable = run.access.contains(MemoryFlags::WRITE);
        for (&page, &write) in touched.range(run.pages.clone()) {
            match write && is_writable {
                true => written.add(page, 0),
                // A fault for a page that the file does not have maps no others.
                false if run.content == Content::Zero => {}
                false => read.add(page, AROUND),
            }
        }
    }
    let pieces = |pages: &Range<u64>| pages.end.div_ceil(AROUND) - pages.start / AROUND;
    let read = read.all.into_iter().filter(|pages| pieces(pages) >= FEWEST_PIECES);
    let count = |pages: &Range<u64>| (pages.end - pages.start) / PAGE_SIZE;
    let written = written.all.into_iter().filter(|pages| count(pages) >= FEWEST_WRITTEN);
    let read = read.map(|pages| Populate { pages, write: false });
    read.chain(written.map(|pages| Populate { pages, write: true })).collect()
}

/// Ranges of pages, ascending.
#[derive(Default)]
struct Ranges {
    all: Vec<Range<u64>>,
    /// No range reaches from before this place to behind it.
    split: u64,
}

impl Ranges {
    /// Adds a page, to the last range if that is not farther away than `gap`.
    fn add(&mut self, page: u64, gap: u64) {
        match self.all.last_mut().filter(|last| page - last.end <= gap && self.split <= last.start) {
            Some(last) => last.end = page + PAGE_SIZE,
            None => self.all.push(page..page + PAGE_SIZE),
        }
    }

    /// What comes behind this place is another range.
    fn end_at(&mut self, place: u64) {
        self.split = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_near_each_other_are_one_range() {
        let mut ranges = Ranges::default();
        for page in [1, 2, 4, 30] {
            ranges.add(page * PAGE_SIZE, AROUND);
        }
        assert_eq!(ranges.all, [PAGE_SIZE..5 * PAGE_SIZE, 30 * PAGE_SIZE..31 * PAGE_SIZE]);
        ranges.add(32 * PAGE_SIZE, 0);
        assert_eq!(ranges.all.len(), 3);
        ranges.end_at(33 * PAGE_SIZE);
        ranges.add(33 * PAGE_SIZE, AROUND);
        assert_eq!(ranges.all.len(), 4);
    }
}
