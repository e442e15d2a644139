//! Drives everything that the loader does with an ELF file, but for mapping it, and asserts what the later phases rely
//! on. The property tests call it, and so does the fuzz target, which includes this file: that is why it finds the
//! loader's modules under `crate`, where both have them.

use core::ops::Range;
use std::vec;
use std::vec::Vec;

use crate::elf::{
    Dynamic, ElfError, FileHeader, LoadSegment, PAGE_SIZE, RelocationTable, RelrSlots, SegmentFlags,
    Segments, SymbolName, SymbolTable, Vaddr, View, page_up,
};
use crate::layout::{PageClass, Plan, unused_ends};

/// The end of what a process can address.
const ADDRESS_SPACE_END: u64 = 1 << 47;
/// How much of a segment's zero-initialised part gets real memory here.
const MAX_ZEROES: u64 = 64 << 10;
/// How much memory the segments may take here in all.
const MAX_MEMORY: u64 = 16 << 20;
/// How many symbols are looked up by their names, and how many entries of a table are looked at.
const MAX_NAMES: u32 = 256;
const MAX_ENTRIES: usize = 1 << 16;

/// Bytes that begin at a page boundary, as mapped ones do.
pub struct Pages {
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl Pages {
    /// `bytes`, followed by zeroes up to `size`.
    pub fn new(bytes: &[u8], size: usize) -> Self {
        let size = size.max(bytes.len());
        let mut memory = vec![0; size + PAGE_SIZE as usize];
        let start = memory.as_ptr().align_offset(PAGE_SIZE as usize);
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        Self { memory, start, size }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.size]
    }
}

/// Reads `file` as the loader does.
///
/// # Errors
/// What the loader would say about it.
///
/// # Panics
/// If something comes out of `elf` or `layout` that the loader does not expect.
pub fn drive(file: &[u8]) -> Result<(), ElfError> {
    let header = FileHeader::parse(file)?;
    let headers = header.program_headers()?;
    let in_file =
        |range: &Range<u64>| file.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?);
    let table = in_file(&headers).ok_or(ElfError::Truncated)?;
    let segments = Segments::parse(table)?;
    if Segments::are_few(table) {
        assert!(!segments.loads.spilled() && segments.loads.is_sorted_by_key(|load| load.vaddr));
    }
    segments.check_file_size(file.len() as u64)?;
    check_segments(&segments, file.len() as u64);
    check_plan(&Plan::new(header.object_type, &segments), &segments, file.len() as u64);
    if let Some(vaddr) = segments.program_headers(&headers) {
        assert!(segments.containing(&(vaddr..Vaddr(vaddr.0 + table.len() as u64))).is_some());
    }
    let _ = segments.is_code(header.entry);

    let whole = Pages::new(file, page_up(file.len() as u64) as usize);
    let images = images(&segments, &whole)?;
    let parts: Vec<(Vaddr, &[u8])> = images.iter().map(|image| (image.vaddr, image.bytes(&whole))).collect();
    let view = View::new(parts.clone());
    let dynamic = Dynamic::parse(&view, segments.dynamic.ok_or(ElfError::NoDynamic)?)?;
    assert_eq!(segments.dynamic.is_some_and(|at| Dynamic::names_few(&view, at)), !dynamic.needed.spilled());
    if dynamic.check_initialisation(&view, &segments).is_ok() {
        for function in [dynamic.init, dynamic.fini].into_iter().flatten() {
            assert!(segments.is_code(function));
        }
    }
    let symbols = SymbolTable::parse(&view, &dynamic)?;
    check_strings(&symbols, &dynamic, &parts);
    check_symbols(&symbols, &parts);
    check_relocations(&view, &dynamic, &parts)
}

/// A segment's memory: a part of the file's pages, or a copy of it with zeroes behind.
struct Image {
    vaddr: Vaddr,
    in_file: Range<usize>,
    copy: Option<Pages>,
}

impl Image {
    fn bytes<'a>(&'a self, whole: &'a Pages) -> &'a [u8] {
        match &self.copy {
            Some(copy) => &copy.bytes()[(self.vaddr.0 % PAGE_SIZE) as usize..],
            None => &whole.bytes()[self.in_file.clone()],
        }
    }
}

/// The memory of all readable segments, as in `map::load::view`.
fn images(segments: &Segments, whole: &Pages) -> Result<Vec<Image>, ElfError> {
    let mut used = 0;
    let readable = segments.loads.iter().filter(|load| load.flags.contains(SegmentFlags::READ));
    let image = |load: &LoadSegment| {
        let start = load.offset as usize;
        let in_file = if load.filesz == 0 { 0..0 } else { start..start + load.filesz as usize };
        let zeroes = if load.flags.contains(SegmentFlags::WRITE) { load.memsz - load.filesz } else { 0 };
        let copy = (zeroes > 0).then(|| {
            let before = (load.vaddr.0 % PAGE_SIZE) as usize;
            let file_bytes =
                if in_file.is_empty() { &[] } else { &whole.bytes()[start - before..in_file.end] };
            let size = before + in_file.len() + zeroes.min(MAX_ZEROES) as usize;
            used += size as u64;
            Pages::new(if used > MAX_MEMORY { &[] } else { file_bytes }, size)
        });
        Image { vaddr: load.vaddr, in_file, copy }
    };
    let images = readable.map(image).collect();
    if used > MAX_MEMORY { Err(ElfError::Truncated) } else { Ok(images) }
}

fn check_segments(segments: &Segments, file_size: u64) {
    assert!(!segments.loads.is_empty());
    for load in &segments.loads {
        assert!(load.vaddr.0.checked_add(load.memsz).is_some_and(|end| end <= ADDRESS_SPACE_END));
        assert!(load.memsz > 0 && load.filesz <= load.memsz);
        assert_eq!(load.offset % PAGE_SIZE, load.vaddr.0 % PAGE_SIZE);
        assert!(load.align.is_power_of_two() && load.align >= PAGE_SIZE);
        let end =
            load.offset.checked_add(load.filesz).expect("the end of a segment in the file does not wrap");
        assert!(load.filesz == 0 || end <= page_up(file_size));
    }
    let mut ranges: Vec<Range<Vaddr>> = segments.loads.iter().map(LoadSegment::range).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    assert!(ranges.is_sorted_by(|low, high| low.end <= high.start), "segments overlap: {ranges:?}");
    if let Some(tls) = &segments.tls {
        assert!(tls.align.is_power_of_two() && tls.filesz <= tls.memsz && tls.memsz <= ADDRESS_SPACE_END);
        let image = tls.vaddr..Vaddr(tls.vaddr.0.wrapping_add(tls.filesz));
        assert!(tls.filesz == 0 || segments.containing(&image).is_some());
    }
    if let Some(relro) = segments.relro.as_ref().filter(|relro| relro.start < relro.end) {
        let span = segments.span();
        assert!(span.start <= relro.start && relro.end <= span.end);
        assert!(relro.start.0.is_multiple_of(PAGE_SIZE) && relro.end.0.is_multiple_of(PAGE_SIZE));
    }
}

/// The mapper relies on all of this, and so does what gives unused memory to malloc.
fn check_plan(plan: &Plan, segments: &Segments, file_size: u64) {
    assert!(plan.span.start < plan.span.end && plan.length() <= ADDRESS_SPACE_END);
    let first = plan.regions.first().expect("a plan has a region for its first segment");
    assert_eq!(first.pages.start, plan.span.start, "the first region starts the span");
    for region in &plan.regions {
        let Range { start, end } = region.pages;
        assert!(start < end, "an empty region: {region:?}");
        assert!(start.0.is_multiple_of(PAGE_SIZE) && end.0.is_multiple_of(PAGE_SIZE), "{region:?}");
        assert!(plan.span.start <= start && end <= plan.span.end, "{region:?} is outside {:?}", plan.span);
        if let Some(offset) = region.file_offset {
            assert!(offset.is_multiple_of(PAGE_SIZE), "{region:?}");
            assert!(offset + (end.0 - start.0) <= page_up(file_size), "{region:?} reaches beyond the file");
        }
        let inaccessible = region.flags.is_empty() && region.file_offset.is_none();
        assert!(region.class != PageClass::Hole || inaccessible, "{region:?}");
    }
    let mut regions: Vec<&Range<Vaddr>> = plan.regions.iter().map(|region| &region.pages).collect();
    regions.sort_unstable_by_key(|pages| pages.start);
    let covered = regions.into_iter().fold(plan.span.start, |covered, pages| {
        assert!(pages.start <= covered, "nothing is planned for {covered:?}..{:?}", pages.start);
        covered.max(pages.end)
    });
    assert_eq!(covered, plan.span.end);
    for gap in unused_ends(segments) {
        assert!(gap.start < gap.end && gap.end.0 - gap.start.0 < PAGE_SIZE, "{gap:?}");
        assert!(plan.span.start <= gap.start && gap.end <= plan.span.end, "{gap:?}");
        let sealed = segments.relro.as_ref().filter(|relro| relro.start < relro.end);
        assert!(sealed.is_none_or(|relro| gap.end <= relro.start || relro.end <= gap.start), "{gap:?}");
    }
    for region in &plan.regions {
        let Some(tail) = region.zero_from else { continue };
        assert!(tail < region.pages.end && region.pages.end.0 - tail.0 < PAGE_SIZE);
        assert_eq!(region.class, PageClass::Data, "{tail:?} is not writable");
    }
}

/// Whether a slice that `elf` has made lies within one part of the object.
fn is_inside<T>(slice: &[T], parts: &[(Vaddr, &[u8])]) -> bool {
    let inner = slice.as_ptr_range();
    slice.is_empty()
        || parts.iter().any(|(_, part)| {
            let outer = part.as_ptr_range();
            outer.start <= inner.start.cast() && inner.end.cast() <= outer.end
        })
}

fn check_strings(symbols: &SymbolTable<'_>, dynamic: &Dynamic, parts: &[(Vaddr, &[u8])]) {
    for &offset in dynamic.needed.iter().take(MAX_ENTRIES).chain(&dynamic.search_path) {
        if let Some(string) = symbols.string(offset) {
            assert!(is_inside(string.to_bytes_with_nul(), parts));
        }
    }
}

fn check_symbols(symbols: &SymbolTable<'_>, parts: &[(Vaddr, &[u8])]) {
    let check_lookup = |name: &SymbolName<'_>| {
        if let Some(found) = symbols.lookup(name) {
            let own_name = symbols.name_of(&found).expect("what was found by name has a name");
            assert_eq!(own_name.bytes(), name.bytes());
        }
    };
    for index in 0..MAX_NAMES {
        let Some(symbol) = symbols.get(index) else { break };
        let Some(name) = symbols.name_of(&symbol) else { continue };
        assert!(!name.bytes().contains(&0));
        assert!(is_inside(name.bytes(), parts));
        check_lookup(&name);
    }
    for absent in [&b""[..], b"no such symbol", &[0xff; 300]] {
        let absent = SymbolName::new(absent);
        check_lookup(&absent);
        let _ = symbols.lookup_version(&absent, &absent);
    }
    for (_, symbol) in symbols.iter().take(MAX_ENTRIES) {
        let _ = (symbol.is_defined(), symbol.has_linkable_binding(), symbol.has_linkable_type());
    }
    assert!(symbols.get(u32::MAX).is_none());
}

fn check_relocations(view: &View<'_>, dynamic: &Dynamic, parts: &[(Vaddr, &[u8])]) -> Result<(), ElfError> {
    let tables = [
        (dynamic.jmprel, dynamic.jmprel_has_addends, "DT_JMPREL"),
        (dynamic.rel, false, "DT_REL"),
        (dynamic.rela, true, "DT_RELA"),
    ];
    for (table, has_addends, what) in tables {
        let relocations = RelocationTable::parse(view, table, has_addends, what)?;
        let (inside, bytes) = match relocations {
            RelocationTable::Rel(entries) => (is_inside(entries, parts), size_of_val(entries)),
            RelocationTable::Rela(entries) => (is_inside(entries, parts), size_of_val(entries)),
        };
        assert!(inside && bytes as u64 <= table.size, "{what} is out of bounds");
        let mut count = 0;
        relocations.for_each(|relocation| {
            assert_eq!(relocation.addend.is_some(), has_addends);
            count += 1;
        });
        assert_eq!(count, bytes / if has_addends { 24 } else { 16 });
    }
    let words: &[u64] = view.table(dynamic.relr.vaddr, dynamic.relr.size, "DT_RELR")?;
    assert!(is_inside(words, parts) && size_of_val(words) as u64 <= dynamic.relr.size);
    assert!(RelrSlots::new(words).take(MAX_ENTRIES).count() <= 63 * words.len());
    Ok(())
}
