//! What becomes of each page of an image in the processes of a program: which access it has, and which pages are different from
//! the rest of their window.

use std::collections::BTreeMap;
use std::ops::Range;

use ld_morsel::elf::{PAGE_SIZE, page_up};
use ld_morsel::image::format::{FarWindow, Pages, Region, Source};
use ld_morsel::layout::PageClass;
use ld_morsel::program::{Object, ObjectId, Origin};
use ld_morsel::sys::MemoryFlags;

use super::build::{Built, Served};
use super::layout::{HUGE_PAGE, WINDOW};
use super::library::Library;

/// Zeros of so many pages are not in the file.
const MANY_ZEROS: u64 = 16;

/// A window of which less than this fraction is used would mostly cost memory as huge pages.
const DENSE: u64 = 4;

/// What code that nobody reaches consists of.
pub const UNREACHABLE: u8 = 0xcc;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What the file has.
    File,
    /// The same; it has been writable for relocation only, and nothing is left to be relocated.
    Sealed,
    /// What libc itself will relocate.
    Written,
    /// Zeros, which the file does not have.
    Zero,
}

/// Pages of a library that are alike.
#[derive(Clone, Debug)]
pub struct Run {
    /// Which, counted from the image's base.
    pub pages: Pages,
    /// What may be done with them in the end.
    pub access: MemoryFlags,
    /// What they hold.
    pub content: Content,
}

/// Whether all that is read-only after relocation of an object can be so from the start.
pub fn is_sealed(served: &Served, id: ObjectId) -> bool {
    let object = &served.program[id];
    let in_relro = |late: &_| {
        let ld_morsel::image::format::LateRelocation { relocation, .. } = late;
        object.segments.relro.as_ref().is_some_and(|relro| {
            relro.start.0 < relocation.slot.0.saturating_add(16) && relocation.slot < relro.end
        })
    };
    let mut late = served.late.iter().filter(|late| ObjectId(late.object) == id);
    object.origin == Origin::File && !late.any(in_relro)
}

/// The pages of an object, one run of equal ones after the other.
pub fn runs(library: &Library, object: &Object, sealed: bool) -> Vec<Run> {
    let mut runs = Vec::new();
    let is_libc = object.origin == Origin::Libc;
    let relro = object.segments.relro.clone().filter(|relro| sealed && relro.start < relro.end);
    for unit in &library.units {
        let page = |vaddr: u64| ((vaddr - unit.pages.start.0) / PAGE_SIZE) as usize;
        let mut pages = vec![(MemoryFlags::empty(), Content::File); page(unit.pages.end.0)];
        for region in library.plan.regions.iter().filter(|region| unit.pages.contains(&region.pages.start)) {
            let range = page(region.pages.start.0)..page(region.pages.end.0);
            let content = match region.class {
                PageClass::Zero if range.len() as u64 >= MANY_ZEROS => Content::Zero,
                _ if is_libc && region.flags.contains(MemoryFlags::WRITE) => Content::Written,
                _ => Content::File,
            };
            pages[range].fill((region.flags, content));
        }
        if let Some(relro) = relro.as_ref().filter(|relro| unit.pages.contains(&relro.start)) {
            let end = relro.end.min(unit.pages.end);
            for (access, content) in &mut pages[page(relro.start.0)..page(end.0)] {
                if access.contains(MemoryFlags::WRITE) && *content == Content::File {
                    (*access, *content) = (MemoryFlags::READ, Content::Sealed);
                }
            }
        }
        let mut next = library.placed(&unit.pages).start;
        runs.extend(pages.chunk_by(|a, b| a == b).map(|run| {
            let pages = next..next + run.len() as u64 * PAGE_SIZE;
            next = pages.end;
            Run { pages, access: run[0].0, content: run[0].1 }
        }));
    }
    runs
}

/// All runs of a program's libraries, by address.
pub fn all_runs(built: &Built, served: &Served) -> Vec<Run> {
    let libraries = served.program.iter().zip(&served.libraries);
    let libraries = libraries.filter_map(|((id, object), library)| Some((id, object, (*library)?)));
    let runs = libraries
        .flat_map(|(id, object, library)| runs(&built.libraries[library], object, is_sealed(served, id)));
    let mut runs: Vec<Run> = runs.collect();
    runs.sort_unstable_by_key(|run| run.pages.start);
    runs
}

/// The file as it is mapped.
pub struct FileMap {
    /// The windows but the first, which is the beginning of the file.
    pub far: Vec<FarWindow>,
    /// Bytes of the first window.
    pub first: u64,
    /// Bytes of the file so far.
    pub end: u64,
}

impl FileMap {
    /// Puts the far windows behind the first, each with the access that most of its pages have.
    pub fn new(built: &Built, first: u64) -> Self {
        let layout = &built.layout;
        let mut map = Self { far: Vec::new(), first, end: first };
        let runs: Vec<Run> = built.programs.iter().flat_map(|served| all_runs(built, served)).collect();
        for pages in &layout.windows[1..] {
            let runs_in = |pages: Pages| runs.iter().filter(move |run| pages.contains(&run.pages.start));
            let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
            for run in runs_in(pages.clone()) {
                *sums.entry(run.access.bits()).or_default() += run.pages.end - run.pages.start;
            }
            let most = sums.into_iter().max_by_key(|(_, sum)| *sum).map_or(0, |(access, _)| access);
            let access = MemoryFlags::from_bits_truncate(most);
            let mut pages = pages.clone();
            let used: u64 = runs_in(pages.clone()).map(|run| run.pages.end - run.pages.start).sum();
            let is_worth_it =
                pages.end - pages.start >= HUGE_PAGE && used >= (pages.end - pages.start) / DENSE;
            if layout.huge && is_worth_it && !access.contains(MemoryFlags::WRITE) {
                pages = pages.start / HUGE_PAGE * HUGE_PAGE..pages.end.next_multiple_of(HUGE_PAGE);
                map.end = map.end.next_multiple_of(HUGE_PAGE);
            }
            map.far.push(FarWindow { pages: pages.clone(), offset: map.end, access });
            map.end += pages.end - pages.start;
        }
        map
    }

    /// Makes room for so many bytes at the end; returns where that is.
    pub fn append(&mut self, size: u64) -> u64 {
        let offset = self.end;
        self.end += page_up(size);
        offset
    }

    fn window(&self, at: u64) -> Option<&FarWindow> {
        self.far.iter().find(|window| window.pages.contains(&at))
    }

    /// Where in the file a place of the image is.
    pub fn offset(&self, at: u64) -> u64 {
        self.window(at).map_or(at, |window| window.offset + (at - window.pages.start))
    }

    /// What may be done with a page there if nothing else is said.
    fn access(&self, at: u64) -> MemoryFlags {
        self.window(at).map_or(MemoryFlags::READ, |window| window.access)
    }
}

/// How the pages of a program are different from their windows'.
#[derive(Default)]
pub struct Difference {
    /// The pages whose access or contents are different.
    pub regions: Vec<Region>,
    /// Those that are sealed already.
    pub sealed: Vec<Pages>,
    /// Pages whose contents are different, and where in the file theirs are.
    pub variants: Vec<(Pages, u64)>,
    /// Pages between code that can be reached by nobody.
    pub gaps: Vec<Pages>,
}

/// The pages that can be huge ones.
pub fn huge(built: &Built, map: &FileMap) -> Vec<Pages> {
    let whole = |pages: &Pages| pages.start.next_multiple_of(HUGE_PAGE)..pages.end / HUGE_PAGE * HUGE_PAGE;
    let fits = |window: &&FarWindow| [window.pages.start, window.offset].iter().all(|at| at % HUGE_PAGE == 0);
    let read_only = map.far.iter().filter(|window| !window.access.contains(MemoryFlags::WRITE));
    let windows = read_only.filter(fits).map(|window| &window.pages).chain([&built.layout.code]);
    let pages = windows.filter(|_| built.layout.huge).map(whole);
    pages.filter(|pages| !pages.is_empty()).collect()
}

/// What a program's pages need. The windows have the contents of `common`, this program's own are behind `map.end` in the
/// file.
pub fn difference(
    built: &Built,
    served: &Served,
    map: &mut FileMap,
    common: impl Fn(&Pages) -> bool,
) -> Difference {
    let mut result = Difference::default();
    let mut last_end = 0;
    let mut runs = all_runs(built, served);
    let padding = &built.layout.padding;
    if !padding.is_empty() {
        let access = MemoryFlags::READ | MemoryFlags::EXECUTE;
        let at = runs.partition_point(|run| run.pages.start < padding.start);
        runs.insert(at, Run { pages: padding.clone(), access, content: Content::File });
        result.gaps.push(padding.clone());
    }
    for run in runs {
        if run.content == Content::Sealed {
            match result.sealed.last_mut().filter(|last| last.end == run.pages.start) {
                Some(last) => last.end = run.pages.end,
                None => result.sealed.push(run.pages.clone()),
            }
        }
        for (pages, is_common) in split(&run, &common) {
            let source = match run.content {
                Content::Zero => Source::Zero,
                _ if !is_common => {
                    let offset = map.append(pages.end - pages.start);
                    result.variants.push((pages.clone(), offset));
                    Source::File(offset)
                }
                Content::Written => Source::Written(map.offset(pages.start)),
                Content::File | Content::Sealed => Source::Window,
            };
            if source == Source::Window && run.access == map.access(pages.start) {
                last_end = pages.end;
                continue;
            }
            let region = Region { pages, access: run.access, source };
            result.join(region, last_end, built);
            last_end = result.regions.last().map_or(last_end, |last| last.pages.end);
        }
    }
    // The kernel cuts a window into pieces faster from its end: what is left to be cut is found at once.
    result.regions.reverse();
    result
}

/// The parts of a run whose contents are the common ones, and those whose are not.
fn split(run: &Run, common: impl Fn(&Pages) -> bool) -> Vec<(Pages, bool)> {
    if run.content == Content::Zero {
        return vec![(run.pages.clone(), true)];
    }
    let mut parts: Vec<(Pages, bool)> = Vec::new();
    for start in run.pages.clone().step_by(PAGE_SIZE as usize) {
        let page = start..start + PAGE_SIZE;
        let is_common = common(&page);
        match parts.last_mut().filter(|last| last.1 == is_common) {
            Some(last) => last.0.end = page.end,
            None => parts.push((page, is_common)),
        }
    }
    parts
}

impl Difference {
    /// Adds a region, to the last one if that ends there, or if only unused pages are between code and code.
    fn join(&mut self, region: Region, last_end: u64, built: &Built) {
        let last = self.regions.last_mut().filter(|last| {
            last.pages.end == last_end
                && last.pages.start / WINDOW == region.pages.start / WINDOW
                && last.access == region.access
                && last.source == Source::Window
                && region.source == Source::Window
        });
        let gap = last_end..region.pages.start;
        match last {
            Some(last) if gap.is_empty() => last.pages.end = region.pages.end,
            Some(last) if region.access.contains(MemoryFlags::EXECUTE) && is_unused(built, &gap) => {
                last.pages.end = region.pages.end;
                self.gaps.push(gap);
            }
            _ => self.regions.push(region),
        }
    }
}

/// Whether no library of any program is there.
fn is_unused(built: &Built, pages: &Range<u64>) -> bool {
    let overlaps = |other: Range<u64>| other.start < pages.end && pages.start < other.end;
    let mut libraries = built.libraries.iter();
    pages.start >= PAGE_SIZE
        && !libraries.any(|library| library.units.iter().any(|unit| overlaps(library.placed(&unit.pages))))
}
