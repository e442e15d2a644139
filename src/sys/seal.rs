//! What the loader knows of the program is read-only while the program runs, so that a stray or hostile write of the
//! program's cannot change it: the variables in the section `.sealed`, initialised data, and one arena of memory. A load opens a
//! [`Window`] on it all. Where it is in the binary says `loader.ld`.

use core::sync::atomic::{AtomicU64, Ordering};

use super::alloc::SEALED;
use super::calls::{Errno, MemoryFlags, change_protection};
use super::x86_64::thread_pointer;

const PAGE: u64 = 4096;

/// The page where the loader's data begins, once it is sealed; 0 while the process starts.
#[unsafe(link_section = ".sealed")]
static SEALED_FROM: AtomicU64 = AtomicU64::new(0);
/// The thread that has a window, known by its thread pointer; 0 if there is none.
#[unsafe(link_section = ".sealed")]
static HOLDER: AtomicU64 = AtomicU64::new(0);

/// Ends the start: from now on it takes a [`Window`] to change sealed data. `data` is the page where the loader's data begin.
///
/// # Safety
/// The loader is linked as `loader.ld` says, and no reference to sealed data is used for writing any more.
pub unsafe fn seal(data: u64) {
    SEALED_FROM.store(data, Ordering::Release);
    protect(MemoryFlags::READ);
}

/// The right to change sealed data, for the calling thread. All others may read meanwhile.
pub struct Window(());

impl Window {
    /// Makes sealed data writable until the window is dropped. Only one thread at a time may do that, and only once.
    ///
    /// # Errors
    /// What `mprotect` says.
    pub fn open() -> Result<Self, Errno> {
        if let Err(errno) = change(MemoryFlags::READ | MemoryFlags::WRITE) {
            protect(MemoryFlags::READ);
            return Err(errno);
        }
        HOLDER.store(thread_pointer(), Ordering::Relaxed);
        SEALED.take_over();
        Ok(Self(()))
    }

    /// Whether it is the calling thread that has one.
    pub fn is_open_here() -> bool {
        HOLDER.load(Ordering::Relaxed) == thread_pointer()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        HOLDER.store(0, Ordering::Relaxed);
        protect(MemoryFlags::READ);
    }
}

/// Whether the start has ended.
pub(super) fn is_sealed() -> bool {
    SEALED_FROM.load(Ordering::Acquire) != 0
}

/// Whether the calling thread may write to sealed data.
pub(super) fn may_change() -> bool {
    !is_sealed() || Window::is_open_here()
}

/// Takes rights away. A kernel that refuses (out of memory for a split mapping) leaves data as writable as everybody else's.
fn protect(flags: MemoryFlags) {
    if let Err(errno) = change(flags) {
        log::warn!("the loader's data stays writable: {}", super::errno_text(errno));
    }
}

/// Changes the protection of everything sealed. While the process starts, there is nothing to be done.
fn change(flags: MemoryFlags) -> Result<(), Errno> {
    let start = SEALED_FROM.load(Ordering::Acquire);
    if start == 0 {
        return Ok(());
    }
    let first = start..SEALED.end().next_multiple_of(PAGE);
    for pages in core::iter::once(first).chain(SEALED.chunks()) {
        // SAFETY: the pages hold sealed data and nothing else, which is only written to by who has a window.
        unsafe { change_protection(pages.start, pages.end - pages.start, flags) }?;
    }
    Ok(())
}
