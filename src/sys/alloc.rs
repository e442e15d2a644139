//! Memory for the loader's own data. What the loader remembers it remembers for ever, so that nothing is reused
//! but the most recent block (which is how vectors and strings grow). It never touches `brk`, which is libc's.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use super::calls::Memory;

/// Bytes in the loader's own zeroed data that serve first, so that small programs cost no system call.
const FIRST_ARENA: usize = 128 << 10;
/// Bytes asked from the kernel at a time after that, if it has as many.
const CHUNK: usize = 1 << 20;

/// Whether so many bytes can be allocated now. Rust's collections end the process when they cannot: whoever must not do that
/// to a running program asks first.
pub fn memory_is_available(bytes: usize) -> bool {
    let Ok(layout) = Layout::from_size_align(bytes.max(1), 1) else { return false };
    // SAFETY: the layout is not empty, and the block goes back as it came.
    unsafe {
        let block = alloc::alloc::alloc(layout);
        if !block.is_null() {
            alloc::alloc::dealloc(block, layout);
        }
        !block.is_null()
    }
}

/// The global allocator of the loader binary. In this order, so that the first allocations share a page with the rest.
#[repr(C)]
pub struct BumpAllocator {
    locked: AtomicBool,
    arena: UnsafeCell<Arena>,
    first: UnsafeCell<[u8; FIRST_ARENA]>,
}

struct Arena {
    /// The next free byte; null until the first allocation.
    next: *mut u8,
    end: *mut u8,
    /// From here to the end no byte has ever been handed out: they are zero.
    untouched: *mut u8,
}

// SAFETY: `arena` and `first` are only touched while `locked` is held.
unsafe impl Sync for BumpAllocator {}

impl BumpAllocator {
    /// An allocator that has handed out nothing.
    #[expect(clippy::new_without_default, reason = "only ever a static")]
    pub const fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            arena: UnsafeCell::new(Arena { next: null_mut(), end: null_mut(), untouched: null_mut() }),
            first: UnsafeCell::new([0; FIRST_ARENA]),
        }
    }

    /// Runs `work` alone. The sections are a few instructions long, hence no futex.
    fn with_arena<R>(&self, work: impl FnOnce(&mut Arena) -> R) -> R {
        while self.locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: the lock makes this the only reference.
        let arena = unsafe { &mut *self.arena.get() };
        if arena.next.is_null() {
            arena.next = self.first.get().cast();
            arena.end = arena.next.wrapping_add(FIRST_ARENA);
            arena.untouched = arena.next;
        }
        let result = work(arena);
        self.locked.store(false, Ordering::Release);
        result
    }
}

/// At least `size` bytes from the kernel.
fn new_chunk(size: usize) -> Option<(u64, usize)> {
    let size = size.checked_next_multiple_of(4096)?;
    Memory::zeroed(size as u64).map(0).ok().map(|chunk| (chunk, size))
}

impl Arena {
    fn take(&mut self, layout: Layout) -> *mut u8 {
        if let Some(block) = self.carve(layout) {
            return block;
        }
        let needed = layout.size().saturating_add(layout.align());
        let Some((chunk, wanted)) = new_chunk(needed.max(CHUNK)).or_else(|| new_chunk(needed)) else {
            return null_mut();
        };
        self.next = chunk as *mut u8;
        self.end = self.next.wrapping_add(wanted);
        self.untouched = self.next;
        self.carve(layout).unwrap_or(null_mut())
    }

    fn carve(&mut self, layout: Layout) -> Option<*mut u8> {
        let padding = self.next.align_offset(layout.align());
        let needed = padding.checked_add(layout.size())?;
        if needed > self.end as usize - self.next as usize {
            return None;
        }
        let block = self.next.wrapping_add(padding);
        self.advance(block.wrapping_add(layout.size()));
        Some(block)
    }

    fn advance(&mut self, next: *mut u8) {
        self.next = next;
        self.untouched = self.untouched.max(next);
    }

    /// Whether `block` was the last to be handed out.
    fn is_last(&self, block: *mut u8, size: usize) -> bool {
        block.wrapping_add(size) == self.next
    }
}

// SAFETY: blocks are disjoint parts of the arena, aligned as asked, and never reused while allocated.
unsafe impl GlobalAlloc for BumpAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with_arena(|arena| arena.take(layout))
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.with_arena(|arena| {
            let untouched = arena.untouched;
            let block = arena.take(layout);
            let used = (untouched as usize).saturating_sub(block as usize).min(layout.size());
            // A block from a new chunk is untouched as a whole; only one in the old chunk can begin below the mark.
            if !block.is_null() && arena.end as usize >= untouched as usize && block < untouched {
                // SAFETY: within the block.
                unsafe { block.write_bytes(0, used) };
            }
            block
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.with_arena(|arena| {
            if arena.is_last(block, layout.size()) {
                arena.next = block;
            }
        });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.with_arena(|arena| {
            if arena.is_last(block, layout.size()) && new_size <= arena.end as usize - block as usize {
                arena.advance(block.wrapping_add(new_size));
                return block;
            }
            if new_size <= layout.size() {
                return block;
            }
            // SAFETY: the alignment is that of a valid layout, and the caller guarantees the new size.
            let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
            let new = arena.take(new_layout);
            if !new.is_null() {
                // SAFETY: both blocks are at least `layout.size()` long and disjoint.
                unsafe { core::ptr::copy_nonoverlapping(block, new, layout.size()) };
            }
            new
        })
    }
}
