//! The backend that works everywhere: private file mappings, in the manner of every loader.

use crate::elf::{Address, LoadBias, PAGE_SIZE, Vaddr};
use crate::layout::{PageClass, Placement, Plan, Region};
use crate::sys::{self, Errno, File, MemoryFlags};

use super::Mapper;

/// Maps each region with `mmap`.
#[derive(Debug, Default)]
pub struct FileMapper {
    /// The lowest address mapped so far: the kernel works downwards, so just below it is probably free.
    lowest: Option<u64>,
}

impl Mapper for FileMapper {
    fn name(&self) -> &'static str {
        "file"
    }

    fn map(&mut self, plan: &Plan, file: &File) -> Result<Address, Errno> {
        let start = self.reserve(plan, file)?;
        self.lowest = Some(start.0);
        let bias = LoadBias::between(start, plan.span.start);
        let laid = plan.regions.iter().enumerate().try_for_each(|(index, region)| {
            if index > 0 {
                lay(region, bias, file)?;
            }
            clear_tail(region, bias);
            Ok(())
        });
        if let Err(errno) = laid {
            // SAFETY: the span was mapped just now, by us, and nobody else knows of it.
            unsafe { sys::unmap(start.0, plan.length()) };
            return Err(errno);
        }
        Ok(start)
    }
}

impl FileMapper {
    /// Takes address space for the whole span, with the first region already in place at its start.
    fn reserve(&self, plan: &Plan, file: &File) -> Result<Address, Errno> {
        let first = plan.regions.first().ok_or(Errno::NOEXEC)?;
        let hint = match plan.placement {
            Placement::Exact | Placement::Preferred => plan.span.start.0,
            Placement::Aligned(PAGE_SIZE) => 0,
            Placement::Aligned(align) => {
                self.lowest.map_or(0, |lowest| lowest.saturating_sub(plan.length()) & !(align - 1))
            }
        };
        let start = map_span(first, hint, plan.length(), file)?;
        match plan.placement {
            Placement::Exact if start != plan.span.start.0 => {
                // SAFETY: mapped just now and known to nobody.
                unsafe { sys::unmap(start, plan.length()) };
                Err(Errno::BUSY)
            }
            Placement::Aligned(align) if !start.is_multiple_of(align) => {
                // SAFETY: mapped just now and known to nobody.
                unsafe { sys::unmap(start, plan.length()) };
                reserve_aligned(plan, first, align, file)
            }
            _ => Ok(Address(start)),
        }
    }
}

/// Maps `length` bytes from the first region's place in the file: more than the file may have, but what lies beyond
/// the region is replaced or made inaccessible before anybody looks.
fn map_span(first: &Region, hint: u64, length: u64, file: &File) -> Result<u64, Errno> {
    match first.file_offset {
        Some(offset) => sys::map_file(hint, length, first.flags, file, offset),
        None => sys::reserve_memory(hint, length, first.flags),
    }
}

/// The sure way to an aligned span: reserve more than is needed and give back the ends.
fn reserve_aligned(plan: &Plan, first: &Region, align: u64, file: &File) -> Result<Address, Errno> {
    let length = plan.length();
    let reserved = length.checked_add(align).ok_or(Errno::NOMEM)?;
    let low = sys::reserve_memory(0, reserved, MemoryFlags::empty())?;
    let start = low.next_multiple_of(align);
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

/// Puts one region in its place within the span.
fn lay(region: &Region, bias: LoadBias, file: &File) -> Result<(), Errno> {
    let address = bias.apply(region.pages.start).0;
    let length = region.pages.end.0 - region.pages.start.0;
    debug_assert!(Vaddr(address).0.is_multiple_of(PAGE_SIZE));
    // SAFETY: the pages lie in the span that was reserved just now for this object, and nobody has seen it yet.
    unsafe {
        match (region.class, region.file_offset) {
            (PageClass::Hole, _) => sys::change_protection(address, length, region.flags),
            (_, Some(offset)) => sys::fixed_file_memory(address, length, region.flags, file, offset),
            (_, None) => sys::fixed_anonymous_memory(address, length, region.flags),
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
