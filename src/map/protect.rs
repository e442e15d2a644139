//! Changing protections of mapped objects: read-only after relocation, and the exception for text relocations.

use crate::elf::{LoadSegment, SegmentFlags};
use crate::layout::memory_flags;
use crate::program::Object;
use crate::sys::{self, Errno, MemoryFlags};

/// Makes what `PT_GNU_RELRO` names read-only. A kernel without `mprotect` is forgiven, as in musl.
///
/// # Errors
/// What `mprotect` says.
///
/// # Safety
/// The object is relocated: nobody will write there any more.
pub unsafe fn seal_relro(object: &Object) -> Result<(), Errno> {
    // SAFETY: passed on to the caller.
    unsafe { change_relro(object, MemoryFlags::READ) }
}

/// # Safety
/// Nobody needs the rights that are taken away.
unsafe fn change_relro(object: &Object, flags: MemoryFlags) -> Result<(), Errno> {
    let Some(relro) = object.segments.relro.as_ref().filter(|relro| relro.start < relro.end) else {
        return Ok(());
    };
    let start = object.address(relro.start).0;
    // SAFETY: the range lies in the object's span (`Segments::parse`), and the caller vouches for its readers.
    match unsafe { sys::change_protection(start, relro.end.0 - relro.start.0, flags) } {
        Err(Errno::NOSYS) => Ok(()),
        result => result,
    }
}

/// Makes what `PT_GNU_RELRO` names writable again, for relocations that were postponed. [`seal_relro`] ends that.
///
/// # Errors
/// What `mprotect` says.
///
/// # Safety
/// Only the loader writes there.
pub unsafe fn open_relro(object: &Object) -> Result<(), Errno> {
    // SAFETY: passed on to the caller.
    unsafe { change_relro(object, MemoryFlags::READ | MemoryFlags::WRITE) }
}

/// Makes read-only segments writable for text relocations (`DT_TEXTREL`), and not executable meanwhile.
///
/// # Errors
/// What `mprotect` says.
///
/// # Safety
/// No code of the object runs until [`close_text`].
pub unsafe fn open_text(object: &Object) -> Result<(), Errno> {
    // SAFETY: passed on to the caller.
    unsafe { change_read_only_segments(object, |_| MemoryFlags::READ | MemoryFlags::WRITE) }
}

/// Gives read-only segments back the protection that they were linked with. (musl leaves the whole object writable
/// *and* executable.)
///
/// # Errors
/// What `mprotect` says.
///
/// # Safety
/// Text relocations are done.
pub unsafe fn close_text(object: &Object) -> Result<(), Errno> {
    // SAFETY: passed on to the caller.
    unsafe { change_read_only_segments(object, |load| memory_flags(load.flags)) }
}

/// # Safety
/// Nobody needs the rights that are taken away.
unsafe fn change_read_only_segments(
    object: &Object,
    flags: impl Fn(&LoadSegment) -> MemoryFlags,
) -> Result<(), Errno> {
    for load in object.segments.loads.iter().filter(|load| !load.flags.contains(SegmentFlags::WRITE)) {
        let pages = load.pages();
        let length = pages.end.0 - pages.start.0;
        // SAFETY: the pages are the object's own; the caller vouches for their users.
        unsafe { sys::change_protection(object.address(pages.start).0, length, flags(load)) }?;
    }
    Ok(())
}
