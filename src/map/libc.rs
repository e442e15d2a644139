//! Mapping a libc, as every libc of musl's is made: read-only segments side by side, then one that is writable. It is small, and
//! every start writes to all of its data, so that these are read into zeroed memory rather than mapped: the kernel has much less
//! to do for that. It takes no memory of the loader's own.

use core::mem::MaybeUninit;

use crate::elf::{
    Address, Anatomy, Dynamic, FileHeader, LoadBias, LoadSegment, PAGE_SIZE, SegmentFlags, Segments, Vaddr,
    page_down, page_up,
};
use crate::host::locate;
use crate::layout::{self, Placement};
use crate::sys::{BorrowedFd, MemoryFlags, bare};

use super::file::FEW_PAGES;
use super::load::{self, HEAD};

/// Larger ones may be worth other ways of mapping, which only begin here.
const LARGEST: u64 = layout::PIECE;

/// System calls that mapping takes, of the usual kind with code between read-only data.
pub const USUAL_CALLS: u64 = 4;

/// A libc that has been mapped.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// From link-time addresses to those in this process.
    pub bias: LoadBias,
    /// Where it begins when it is a process' interpreter.
    pub entry: Address,
}

/// Maps the musl in `file` just below `limit`. `None` if it is none, or one that takes memory to be read or more work to be
/// mapped. Nothing of it stays mapped then.
pub fn load(file: BorrowedFd<'_>, limit: Address) -> Option<Mapped> {
    let mut libc = Anatomy::unread();
    let mut head = [MaybeUninit::uninit(); HEAD];
    let head = bare::read(file, &mut head).ok()?;
    let header = FileHeader::parse(head).ok()?;
    let table = header.program_headers().ok()?;
    let table = head.get(usize::try_from(table.start).ok()?..usize::try_from(table.end).ok()?)?;
    if !Segments::are_few(table) {
        return None;
    }
    libc.segments.read(table).ok()?;
    let span = libc.segments.span();
    let placement = layout::placement(header.object_type, &span, &libc.segments);
    let start = map(placement, &libc.segments, file, limit)?;
    let bias = LoadBias::between(start, span.start);
    // SAFETY: all segments have just been mapped there, and stay while `libc` is read.
    libc.view.add(unsafe { load::parts(&libc.segments, bias) });
    let is_small = libc.segments.dynamic.is_some_and(|section| Dynamic::names_few(&libc.view, section));
    let is_read = is_small && libc.read_tables().is_ok();
    let entry = if is_read { locate::entry_of_musl(&libc, header.entry) } else { None };
    if entry.is_none() {
        // SAFETY: mapped just now, and nobody but `libc` knows of it, which is not read any more.
        unsafe { bare::unmap(start.0, span.end.0 - span.start.0) };
    }
    Some(Mapped { bias, entry: bias.apply(entry?) })
}

/// Maps such a file just below `limit`. Returns where; `None` if it is of another shape, there is no room, or the kernel denies
/// something: nothing of it stays mapped then.
pub fn map(
    placement: Placement,
    segments: &Segments,
    file: BorrowedFd<'_>,
    limit: Address,
) -> Option<Address> {
    let [read_only @ .., data] = segments.loads.as_slice() else { return None };
    let end = data.pages().end.0;
    if !matches!(placement, Placement::Aligned { .. }) || end >= LARGEST || !is_usual(read_only, data) {
        return None;
    }
    let start = placement.align_down(limit.0.checked_sub(end)?)?;
    map_read_only(read_only, file, start)?;
    let mapped = map_data(data, file, start);
    if mapped.is_none() {
        // SAFETY: mapped just now, and known to nobody.
        unsafe { bare::unmap(start, data.pages().start.0) };
    }
    mapped.map(|()| Address(start))
}

/// Whether the segments are as link editors make them for musl. If so, and its data can be read to their end, the file has all that
/// is mapped of it.
fn is_usual(read_only: &[LoadSegment], data: &LoadSegment) -> bool {
    let file_end = page_up(data.offset.saturating_add(data.filesz));
    let mut next = Some(Vaddr(0));
    let mut all_usual = true;
    for load in read_only {
        let is_fixed = load.flags.contains(SegmentFlags::READ) && !load.flags.contains(SegmentFlags::WRITE);
        // The file as it is: an offset is an address.
        let is_whole =
            load.offset == load.vaddr.0 && load.filesz == load.memsz && load.offset + load.filesz <= file_end;
        all_usual &= is_fixed && is_whole && next == Some(load.pages().start);
        next = Some(load.pages().end);
    }
    let pages = page_up(data.vaddr.0 + data.filesz) - data.pages().start.0;
    let flags = SegmentFlags::READ | SegmentFlags::WRITE;
    all_usual
        && !read_only.is_empty()
        && next == Some(data.pages().start)
        && data.flags == flags
        && data.filesz > 0
        && pages <= FEW_PAGES * PAGE_SIZE
}

/// Maps the read-only segments by one call, and one more for each whose rights are not those of the first: less work for the
/// kernel than a mapping for each.
fn map_read_only(loads: &[LoadSegment], file: BorrowedFd<'_>, start: u64) -> Option<()> {
    let [first, others @ ..] = loads else { return None };
    let length = loads.last()?.pages().end.0;
    let access = layout::memory_flags(first.flags);
    bare::map_private(start, length, access, Some((file, 0))).ok()?;
    for load in others.iter().filter(|load| load.flags != first.flags) {
        let pages = load.pages();
        let access = layout::memory_flags(load.flags);
        // SAFETY: mapped just now and known to nobody.
        let changed = unsafe { bare::protect(start + pages.start.0, pages.end.0 - pages.start.0, access) };
        // Processes may have been denied that (`PR_SET_MDWE`).
        if changed.is_err() {
            // SAFETY: likewise.
            unsafe { bare::unmap(start, length) };
            return None;
        }
    }
    Some(())
}

/// Provides the writable segment: zeroed memory, into which the data are read.
fn map_data(data: &LoadSegment, file: BorrowedFd<'_>, start: u64) -> Option<()> {
    let pages = data.pages();
    let (address, length) = (start + pages.start.0, pages.end.0 - pages.start.0);
    let access = MemoryFlags::READ | MemoryFlags::WRITE;
    bare::map_private(address, length, access, None).ok()?;
    let size = (data.vaddr.0 + data.filesz - pages.start.0) as usize;
    // SAFETY: mapped just now, writable, and known to nobody.
    let bytes = unsafe { core::slice::from_raw_parts_mut(address as *mut u8, size) };
    let read = bare::read_at(file, bytes, page_down(data.offset));
    if read != Ok(size) {
        // SAFETY: likewise.
        unsafe { bare::unmap(address, length) };
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: SegmentFlags = SegmentFlags::READ;
    const RX: SegmentFlags = SegmentFlags::READ.union(SegmentFlags::EXECUTE);
    const RW: SegmentFlags = SegmentFlags::READ.union(SegmentFlags::WRITE);

    fn load(vaddr: u64, offset: u64, filesz: u64, memsz: u64, flags: SegmentFlags) -> LoadSegment {
        LoadSegment { vaddr: Vaddr(vaddr), offset, filesz, memsz, align: PAGE_SIZE, flags }
    }

    /// The usual segments, one of them changed.
    fn with(index: usize, change: impl Fn(&mut LoadSegment)) -> bool {
        let mut loads = [
            load(0, 0, 0x1800, 0x1800, R),
            load(0x2000, 0x2000, 0x3000, 0x3000, RX),
            load(0x5000, 0x5000, 0x800, 0x800, R),
            load(0x6b00, 0x5b00, 0x900, 0x3000, RW),
        ];
        change(&mut loads[index]);
        let [read_only @ .., data] = &loads[..] else { return false };
        is_usual(read_only, data)
    }

    #[test]
    fn a_libc_as_link_editors_make_it_is_usual() {
        assert!(with(0, |_| {}));
    }

    #[test]
    fn what_is_mapped_together_is_one_piece_of_the_file() {
        assert!(!with(1, |code| code.offset += PAGE_SIZE));
        assert!(!with(1, |code| code.vaddr.0 += PAGE_SIZE));
        assert!(!with(2, |constants| constants.memsz += 1));
        assert!(!with(2, |constants| constants.flags = RW));
        assert!(!with(0, |headers| headers.flags = SegmentFlags::EXECUTE));
    }

    #[test]
    fn what_is_mapped_is_in_the_file_if_the_data_are() {
        assert!(with(2, |constants| (constants.filesz, constants.memsz) = (0x1000, 0x1000)));
        assert!(!with(3, |data| (data.offset, data.filesz) = (0x4b00, 0x100)));
    }

    #[test]
    fn data_are_few_and_no_code() {
        assert!(!with(3, |data| data.flags = RW.union(RX)));
        assert!(!with(3, |data| data.filesz = 0));
        assert!(!with(3, |data| (data.filesz, data.memsz) = (0x5000, 0x5000)));
        assert!(!with(3, |data| data.vaddr.0 += PAGE_SIZE));
    }
}
