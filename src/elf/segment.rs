//! The program header table: which segments there are, checked so that the later phases can add and subtract freely.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::Range;

use goblin::elf64::program_header::{
    PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_PHDR, PT_TLS, ProgramHeader, SIZEOF_PHDR,
};

use smallvec::SmallVec;

use super::{ElfError, PAGE_SIZE, Vaddr, View, page_down, page_up};

/// Objects have rarely more segments; patchelf adds one.
pub const USUAL_SEGMENTS: usize = 6;

/// The end of what a process of x86-64 can address (47 bits), and so a bound on any sensible segment.
const ADDRESS_SPACE_END: u64 = 1 << 47;

/// The largest `PT_TLS` alignment taken for real; musl has no limit, the largest seen in practice is 64 KiB.
const MAX_TLS_ALIGNMENT: u64 = 1 << 24;

bitflags::bitflags! {
    /// `p_flags`: what may be done with a segment's pages.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SegmentFlags: u32 {
        /// `PF_X`
        const EXECUTE = 1;
        /// `PF_W`
        const WRITE = 2;
        /// `PF_R`
        const READ = 4;
    }
}

/// A `PT_LOAD`. Invariants: `vaddr + memsz` does not overflow, `filesz <= memsz`, `offset` and `vaddr` agree
/// modulo the page size, and the bytes `offset..offset + filesz` lie in the file (up to its last page).
#[derive(Clone, Copy, Debug)]
pub struct LoadSegment {
    /// `p_vaddr`
    pub vaddr: Vaddr,
    /// `p_offset`
    pub offset: u64,
    /// `p_filesz`, in bytes
    pub filesz: u64,
    /// `p_memsz`, in bytes
    pub memsz: u64,
    /// `p_align`, in bytes; at least one page, a power of two (anything else counts as one page, as musl ignores it)
    pub align: u64,
    /// `p_flags`
    pub flags: SegmentFlags,
}

impl LoadSegment {
    /// The addresses that the segment itself occupies.
    pub fn range(&self) -> Range<Vaddr> {
        self.vaddr..Vaddr(self.vaddr.0 + self.memsz)
    }

    /// The same, rounded outwards to whole pages.
    pub fn pages(&self) -> Range<Vaddr> {
        Vaddr(page_down(self.vaddr.0))..Vaddr(page_up(self.vaddr.0 + self.memsz))
    }
}

/// A `PT_TLS`: the initial image of an object's thread-local storage.
#[derive(Clone, Copy, Debug)]
pub struct TlsSegment {
    /// Where the initialised part is.
    pub vaddr: Vaddr,
    /// Bytes of the initialised part.
    pub filesz: u64,
    /// Bytes of the whole, at least `filesz`.
    pub memsz: u64,
    /// A power of two, at least 1.
    pub align: u64,
}

/// What the program header table says.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    /// Every non-empty `PT_LOAD`, in table order.
    pub loads: SmallVec<[LoadSegment; USUAL_SEGMENTS]>,
    /// `PT_DYNAMIC`'s address.
    pub dynamic: Option<Vaddr>,
    /// `PT_TLS`, if it holds anything.
    pub tls: Option<TlsSegment>,
    /// `PT_GNU_RELRO` as musl rounds it: the start down and the end *down* to page boundaries.
    pub relro: Option<Range<Vaddr>>,
    /// `PT_GNU_STACK`'s `p_memsz`: the stack size that threads want.
    pub stack_size: u64,
    /// `PT_INTERP`'s bytes.
    pub interpreter: Option<Range<Vaddr>>,
    /// `PT_PHDR`'s address.
    pub phdr: Option<Vaddr>,
}

impl Segments {
    /// Whether [`Segments::read`] takes no memory for this table: the segments to be loaded are few, and in order.
    pub fn are_few(table: &[u8]) -> bool {
        let (mut count, mut last, mut in_order) = (0, 0, true);
        for bytes in table.chunks_exact(SIZEOF_PHDR) {
            let mut header = ProgramHeader::default();
            let read = plain::copy_from_bytes(&mut header, bytes);
            if read.is_ok() && header.p_type == PT_LOAD {
                in_order &= header.p_vaddr >= last;
                (count, last) = (count + 1, header.p_vaddr);
            }
        }
        in_order && count <= USUAL_SEGMENTS
    }

    /// Reads a program header table.
    ///
    /// Of several `PT_DYNAMIC`, `PT_TLS` or `PT_GNU_RELRO` the last one counts, as in musl (`map_library`).
    ///
    /// # Errors
    /// The first problem found, see [`ElfError`].
    pub fn parse(table: &[u8]) -> Result<Self, ElfError> {
        let mut segments = Self::default();
        segments.read(table)?;
        Ok(segments)
    }

    /// The same, in place.
    ///
    /// # Errors
    /// As for [`Segments::parse`].
    pub fn read(&mut self, table: &[u8]) -> Result<(), ElfError> {
        let segments = self;
        for (index, bytes) in table.chunks_exact(SIZEOF_PHDR).enumerate() {
            let mut header = ProgramHeader::default();
            plain::copy_from_bytes(&mut header, bytes).map_err(|_| ElfError::Truncated)?;
            let start = Vaddr(header.p_vaddr);
            match header.p_type {
                PT_LOAD if header.p_memsz > 0 => {
                    segments.loads.push(check_load(index, &header)?);
                }
                PT_DYNAMIC => segments.dynamic = Some(start),
                PT_TLS if header.p_memsz > 0 => segments.tls = Some(check_tls(&header)?),
                PT_GNU_RELRO => {
                    let end = header.p_vaddr.wrapping_add(header.p_memsz);
                    segments.relro = Some(Vaddr(page_down(header.p_vaddr))..Vaddr(page_down(end)));
                }
                PT_GNU_STACK => segments.stack_size = segments.stack_size.max(header.p_memsz),
                PT_INTERP => {
                    segments.interpreter = Some(start..Vaddr(header.p_vaddr.wrapping_add(header.p_filesz)));
                }
                PT_PHDR => segments.phdr = Some(start),
                _ => {}
            }
        }
        if segments.dynamic.is_none() {
            return Err(ElfError::NoDynamic);
        }
        if segments.loads.is_empty() {
            return Err(ElfError::NothingToLoad);
        }
        segments.check_overlap()?;
        segments.check_against_loads()
    }

    /// The interpreter that an object with these segments names (`PT_INTERP`).
    pub fn interpreter_in<'a>(&self, view: &View<'a>) -> Option<&'a CStr> {
        let path = self.interpreter.as_ref()?;
        let bytes = view.bytes(path.start, path.end.0.checked_sub(path.start.0)?)?;
        CStr::from_bytes_until_nul(bytes).ok()
    }

    /// Whether a file of this size has all that the segments take from it, up to its last page: within that the kernel
    /// supplies zeros, and musl loads such files.
    ///
    /// # Errors
    /// [`ElfError::SegmentBeyondFile`] with the number of the segment.
    pub fn check_file_size(&self, size: u64) -> Result<(), ElfError> {
        let too_long = |load: &LoadSegment| load.filesz > 0 && load.offset + load.filesz > page_up(size);
        match self.loads.iter().position(too_long) {
            Some(index) => Err(ElfError::SegmentBeyondFile(index)),
            None => Ok(()),
        }
    }

    /// The pages from the lowest to the highest `PT_LOAD`.
    pub fn span(&self) -> Range<Vaddr> {
        let start = self.loads.iter().map(|load| load.pages().start).min().unwrap_or_default();
        let end = self.loads.iter().map(|load| load.pages().end).max().unwrap_or_default();
        start..end
    }

    /// The segment that holds all of `range`.
    pub fn containing(&self, range: &Range<Vaddr>) -> Option<&LoadSegment> {
        self.loads.iter().find(|load| load.range().start <= range.start && range.end <= load.range().end)
    }

    /// Where the program headers, at `table` in the file, are once loaded, if a segment holds them all.
    pub fn program_headers(&self, table: &Range<u64>) -> Option<Vaddr> {
        let holds = |load: &&LoadSegment| {
            load.offset <= table.start && table.end <= load.offset.saturating_add(load.filesz)
        };
        let load = self.loads.iter().find(holds)?;
        Some(Vaddr(load.vaddr.0 + (table.start - load.offset)))
    }

    /// Segments may share a page, but no byte. The page belongs to the one that is mapped last (see [`Segments::in_order`]),
    /// and the other must not lose the right to read or write its own bytes that way.
    fn check_overlap(&self) -> Result<(), ElfError> {
        // Nearly always there is not even a page that two share.
        if self.loads.is_sorted_by(|low, high| low.pages().end <= high.pages().start) {
            return Ok(());
        }
        let mut placed = self.in_order().enumerate();
        // Nearly always in order: no memory is taken then, which a start would never give back.
        if self.loads.is_sorted_by_key(|load| load.vaddr) {
            let Some(mut low) = placed.next() else { return Ok(()) };
            return placed
                .try_for_each(|high| self.check_neighbours(core::mem::replace(&mut low, high), high));
        }
        let mut sorted: Vec<(usize, &LoadSegment)> = placed.collect();
        sorted.sort_unstable_by_key(|(_, load)| load.vaddr);
        sorted.windows(2).try_for_each(|pair| self.check_neighbours(pair[0], pair[1]))
    }

    /// The same of two segments, each with its place in the order of mapping, between which there is no other.
    fn check_neighbours(
        &self,
        (low_place, low): (usize, &LoadSegment),
        (high_place, high): (usize, &LoadSegment),
    ) -> Result<(), ElfError> {
        if low.range().end > high.range().start {
            return Err(ElfError::SegmentsOverlap);
        }
        let (owner, other) =
            if low_place > high_place || self.is_on_first_page(high) { (low, high) } else { (high, low) };
        let access = SegmentFlags::READ | SegmentFlags::WRITE;
        let shared = low.pages().end > high.pages().start;
        match shared && !owner.flags.contains(other.flags & access) {
            true => Err(ElfError::SegmentsOverlap),
            false => Ok(()),
        }
    }

    /// The segments in the order in which they are mapped: the lowest first, whose mapping reserves the address space, then
    /// as they are in the table (`map_library`).
    pub fn in_order(&self) -> impl Iterator<Item = &LoadSegment> {
        let start = self.span().start;
        let lowest = self.loads.iter().position(|load| load.pages().start == start).unwrap_or(0);
        let rest = self.loads.iter().enumerate().filter(move |(index, _)| *index != lowest);
        self.loads.get(lowest).into_iter().chain(rest.map(|(_, load)| load))
    }

    /// Whether a segment begins on the first page of all, which stays as the lowest segment has it.
    pub fn is_on_first_page(&self, load: &LoadSegment) -> bool {
        load.pages().start == self.span().start
    }

    /// Whether `vaddr` lies in an executable segment.
    pub fn is_code(&self, vaddr: Vaddr) -> bool {
        let mut code = self.loads.iter().filter(|load| load.flags.contains(SegmentFlags::EXECUTE));
        code.any(|load| load.range().contains(&vaddr))
    }

    /// `PT_TLS` and `PT_GNU_RELRO` must lie in what is loaded; musl trusts them.
    fn check_against_loads(&self) -> Result<(), ElfError> {
        if let Some(tls) = &self.tls
            && tls.filesz > 0
        {
            let end = tls.vaddr.0.checked_add(tls.filesz).ok_or(ElfError::TlsBounds)?;
            let holder = self.containing(&(tls.vaddr..Vaddr(end))).ok_or(ElfError::TlsBounds)?;
            if !holder.flags.contains(SegmentFlags::READ) {
                return Err(ElfError::TlsBounds);
            }
        }
        if let Some(relro) = &self.relro
            && relro.start < relro.end
        {
            let writable = |vaddr: u64| {
                let mut loads = self.loads.iter().filter(|load| load.flags.contains(SegmentFlags::WRITE));
                loads.any(|load| load.pages().contains(&Vaddr(vaddr)))
            };
            if !writable(relro.start.0) || !writable(relro.end.0 - 1) {
                return Err(ElfError::RelroBounds);
            }
        }
        Ok(())
    }
}

fn check_load(index: usize, header: &ProgramHeader) -> Result<LoadSegment, ElfError> {
    let end = header.p_vaddr.checked_add(header.p_memsz).ok_or(ElfError::SegmentBounds(index))?;
    if end > ADDRESS_SPACE_END || header.p_filesz > header.p_memsz {
        return Err(ElfError::SegmentBounds(index));
    }
    if header.p_offset % PAGE_SIZE != header.p_vaddr % PAGE_SIZE {
        return Err(ElfError::SegmentMisaligned(index));
    }
    header.p_offset.checked_add(header.p_filesz).ok_or(ElfError::SegmentBounds(index))?;
    let align = if header.p_align.is_power_of_two() { header.p_align.max(PAGE_SIZE) } else { PAGE_SIZE };
    Ok(LoadSegment {
        vaddr: Vaddr(header.p_vaddr),
        offset: header.p_offset,
        filesz: header.p_filesz,
        memsz: header.p_memsz,
        align,
        flags: SegmentFlags::from_bits_truncate(header.p_flags),
    })
}

fn check_tls(header: &ProgramHeader) -> Result<TlsSegment, ElfError> {
    let align = header.p_align.max(1);
    if !align.is_power_of_two() || align > MAX_TLS_ALIGNMENT {
        return Err(ElfError::TlsAlignment(header.p_align));
    }
    if header.p_filesz > header.p_memsz || header.p_memsz > ADDRESS_SPACE_END {
        return Err(ElfError::TlsBounds);
    }
    Ok(TlsSegment { vaddr: Vaddr(header.p_vaddr), filesz: header.p_filesz, memsz: header.p_memsz, align })
}
