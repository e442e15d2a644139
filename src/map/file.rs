//! The backend that works everywhere: private file mappings, in the manner of every loader.

use crate::elf::{Address, LoadBias, PAGE_SIZE, Segments, Vaddr};
use crate::layout::{PageClass, Placement, Plan, Region};
use crate::sys::{self, AsFd, Errno, File, Memory, MemoryFlags};

use super::{Mapper, libc};

/// A writable region of at most so many pages is provided at once: relocation will write to nearly all of them.
pub(super) const FEW_PAGES: u64 = 4;

/// So many regions are mapped together rather than one by one.
const WORTH_JOINING: usize = 3;

/// Maps each region with `mmap`.
#[derive(Debug)]
pub struct FileMapper {
    /// The lowest address mapped so far: the kernel works downwards, so just below it is probably free.
    lowest: Option<u64>,
    /// As far as is known, what is mapped without the right to be executed may get it.
    may_gain_rights: bool,
}

impl Mapper for FileMapper {
    fn name(&self) -> &'static str {
        "file"
    }

    fn map(&mut self, plan: &Plan, file: &File) -> Result<Address, Errno> {
        let start = match self.map_below(plan, file) {
            Some(start) => start,
            None => self.map_reserved(plan, file)?,
        };
        // A fixed address says nothing of where there is free space; and beside one, others would be as easy to guess.
        if matches!(plan.placement, Placement::Aligned { .. }) {
            self.lowest = Some(start.0);
        }
        Ok(start)
    }

    fn map_libc(&mut self, plan: &Plan, segments: &Segments, file: &File) -> Option<Address> {
        let limit = self.lowest.filter(|_| self.may_gain_rights).map(Address)?;
        let start = libc::map(plan.placement, segments, file.as_fd(), limit)?;
        self.lowest = Some(start.0);
        sys::count_calls(libc::USUAL_CALLS);
        Some(start)
    }
}

impl FileMapper {
    /// Nothing mapped yet; `below` is an address below which there is probably free space.
    pub fn new(below: Option<Address>) -> Self {
        Self { lowest: below.map(|address| address.0), may_gain_rights: true }
    }

    /// Maps the regions side by side below everything else, where nothing is in the way: half the kernel's work of cutting
    /// them out of a reservation. `None` if something is, or the object needs a reservation.
    fn map_below(&mut self, plan: &Plan, file: &File) -> Option<Address> {
        if !matches!(plan.placement, Placement::Aligned { .. }) || !plan.is_seamless() {
            return None;
        }
        let start = plan.placement.align_down(self.lowest?.checked_sub(plan.length())?)?;
        let mut end = start;
        for regions in plan.regions.chunk_by(is_one_piece) {
            let mapped = self.map_piece(regions, end, file);
            if mapped.is_err() {
                unmap_between(start, end);
                return None;
            }
            end += length_of(regions);
        }
        Some(Address(start))
    }

    /// Maps regions that belong together where nothing else is. If it fails, nothing of them stays mapped.
    fn map_piece(&mut self, regions: &[Region], start: u64, file: &File) -> Result<(), Errno> {
        let together = regions.len() >= WORTH_JOINING && self.may_gain_rights;
        let mut end = start;
        for some in regions.chunks(if together { regions.len() } else { 1 }) {
            self.map_together(some, end, file).inspect_err(|_| unmap_between(start, end))?;
            end += length_of(some);
        }
        let first = regions.first().map_or(Vaddr(0), |region| region.pages.start);
        regions.iter().for_each(|region| clear_tail(region, LoadBias::between(Address(start), first)));
        Ok(())
    }

    /// Maps neighbours where nothing else is, by one call, and one more for each whose rights are not those of the first. That is
    /// less work for the kernel than a mapping for each, if code stands between read-only data.
    fn map_together(&mut self, regions: &[Region], start: u64, file: &File) -> Result<(), Errno> {
        let [first, others @ ..] = regions else { return Ok(()) };
        let length = length_of(regions);
        Memory { length, ..memory(first, file) }.map_free(start)?;
        let mut at = start + first.length();
        for other in others {
            if other.flags != first.flags {
                // SAFETY: mapped just now and known to nobody.
                let changed = unsafe { sys::change_protection(at, other.length(), other.flags) };
                if let Err(errno) = changed {
                    // Processes may have been denied that (`PR_SET_MDWE`).
                    self.may_gain_rights = false;
                    // SAFETY: likewise.
                    unsafe { sys::unmap(start, length) };
                    return Err(errno);
                }
            }
            at += other.length();
        }
        Ok(())
    }

    /// Takes address space for the whole span, and lays the regions down in it.
    fn map_reserved(&self, plan: &Plan, file: &File) -> Result<Address, Errno> {
        let start = self.reserve(plan, file)?;
        let bias = LoadBias::between(start, plan.span.start);
        let laid = plan.regions.iter().enumerate().try_for_each(|(index, region)| {
            if index > 0 {
                lay(region, bias, file)?;
            }
            clear_tail(region, bias);
            Ok(())
        });
        laid.inspect_err(|_| {
            // SAFETY: the span was mapped just now, by us, and nobody else knows of it.
            unsafe { sys::unmap(start.0, plan.length()) };
        })?;
        Ok(start)
    }

    /// Takes address space for the whole span, with the first region already in place at its start.
    fn reserve(&self, plan: &Plan, file: &File) -> Result<Address, Errno> {
        let first = plan.regions.first().ok_or(Errno::NOEXEC)?;
        let below = || plan.placement.align_down(self.lowest?.checked_sub(plan.length())?);
        let hint = match plan.placement {
            Placement::Exact | Placement::Preferred => plan.span.start.0,
            Placement::Aligned { to: PAGE_SIZE, .. } => 0,
            Placement::Aligned { .. } => below().unwrap_or(0),
        };
        // More than the file may have, but what lies beyond the region is replaced or made inaccessible before anybody looks.
        let span = Memory { length: plan.length(), populate: false, ..memory(first, file) };
        let start = span.map(hint)?;
        match plan.placement {
            Placement::Exact if start != plan.span.start.0 => {
                // SAFETY: mapped just now and known to nobody.
                unsafe { sys::unmap(start, plan.length()) };
                Err(Errno::BUSY)
            }
            Placement::Aligned { to, .. } if plan.placement.align_down(start) != Some(start) => {
                // SAFETY: mapped just now and known to nobody.
                unsafe { sys::unmap(start, plan.length()) };
                reserve_aligned(plan, first, to, file)
            }
            _ => Ok(Address(start)),
        }
    }
}

/// The sure way to an aligned span: reserve more than is needed and give back the ends.
fn reserve_aligned(plan: &Plan, first: &Region, align: u64, file: &File) -> Result<Address, Errno> {
    let length = plan.length();
    let reserved = length.checked_add(align).ok_or(Errno::NOMEM)?;
    let inaccessible = Memory { access: MemoryFlags::empty(), ..Memory::zeroed(reserved) };
    let low = inaccessible.map(0)?;
    let start = plan.placement.align_down(low + align - 1).ok_or(Errno::NOMEM)?;
    // SAFETY: both ends belong to the reservation just made.
    unsafe {
        if start > low {
            sys::unmap(low, start - low);
        }
        if start + length < low + reserved {
            sys::unmap(start + length, low + reserved - start - length);
        }
    }
    let bias = LoadBias::between(Address(start), plan.span.start);
    lay(first, bias, file).inspect_err(|_| {
        // SAFETY: the rest of the reservation is unused.
        unsafe { sys::unmap(start, length) };
    })?;
    Ok(Address(start))
}

/// Whether two regions are one piece of the file, and neither can be written to.
fn is_one_piece(one: &Region, next: &Region) -> bool {
    let beyond = one.file_offset.and_then(|offset| offset.checked_add(one.length()));
    let is_fixed = |region: &Region| !region.shared && !region.flags.contains(MemoryFlags::WRITE);
    beyond.is_some() && beyond == next.file_offset && is_fixed(one) && is_fixed(next)
}

fn length_of(regions: &[Region]) -> u64 {
    regions.iter().map(Region::length).sum()
}

/// Takes back what has been mapped between two addresses.
fn unmap_between(start: u64, end: u64) {
    if end > start {
        // SAFETY: mapped just now and known to nobody.
        unsafe { sys::unmap(start, end - start) };
    }
}

/// What a region is made of.
fn memory<'a>(region: &Region, file: &'a File) -> Memory<'a> {
    let length = region.length();
    let populate = region.class == PageClass::Data && length <= FEW_PAGES * PAGE_SIZE;
    let backed = region.file_offset.map(|offset| (file, offset));
    Memory { length, access: region.flags, file: backed, populate, shared: region.shared }
}

/// Puts one region in its place within the span.
fn lay(region: &Region, bias: LoadBias, file: &File) -> Result<(), Errno> {
    let address = bias.apply(region.pages.start).0;
    debug_assert!(Vaddr(address).0.is_multiple_of(PAGE_SIZE));
    let memory = memory(region, file);
    // SAFETY: the pages lie in the span that was reserved just now for this object, and nobody has seen it yet.
    unsafe {
        match region.class {
            PageClass::Hole => sys::change_protection(address, memory.length, region.flags),
            _ => memory.map_over(address),
        }
    }
}

/// Clears what a region's last page has of the file beyond the segment. Later regions may take the page over.
fn clear_tail(region: &Region, bias: LoadBias) {
    if let Some(tail) = region.zero_from {
        let length = region.pages.end.0 - tail.0;
        // SAFETY: the plan gives tails to writable regions only, and this one has just been mapped.
        unsafe { core::ptr::write_bytes(bias.apply(tail).0 as *mut u8, 0, length as usize) };
    }
}
