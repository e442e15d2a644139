//! Memory for the loader's own data, in two arenas: one that is sealed while the program runs (see `seal`), and one for
//! what changes at such times. The allocator takes from the sealed one where its caller may write there.
//!
//! What the loader remembers it remembers for ever, so that nothing is reused but the most recent block of an arena (which
//! is how vectors and strings grow). It never touches `brk`, which is libc's.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ops::Range;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use super::calls::{Memory, populate_writable};
use super::seal;

const PAGE: u64 = 4096;
/// Bytes in the loader's own zeroed data that serve first, so that programs of up to a hundred libraries cost no system call, though
/// each load asks for more room than it needs.
const FIRST_SEALED: usize = 272 << 10;
/// The same for what is not sealed: with the loader's variables that are not, it fits in a page.
const FIRST_UNSEALED: usize = 7 << 9;
/// Bytes asked from the kernel at a time after that, if it has as many.
const CHUNK: usize = 1 << 20;

#[unsafe(link_section = ".sealed.arena")]
pub(super) static SEALED: Region<FIRST_SEALED> = Region::new();
#[unsafe(link_section = ".unsealed")]
static UNSEALED: Region<FIRST_UNSEALED> = Region::new();

/// The global allocator of the loader binary.
pub struct BumpAllocator;

/// Whether so many bytes can be allocated now. Rust's collections end the process when they cannot: whoever must not do that
/// to a running program asks first.
pub fn memory_is_available(bytes: usize) -> bool {
    let Ok(layout) = Layout::from_size_align(bytes, 1) else { return false };
    // Not by the allocator: the compiler would see that the block is never used, and take it for granted that there is one.
    with_arena(|arena| arena.make_room(layout).is_some())
}

/// Asks for the pages of the next so many bytes to be there, at once instead of by a fault for each. The caller is to allocate as
/// many.
pub fn provide_memory(bytes: usize) {
    let Ok(layout) = Layout::from_size_align(bytes, 1) else { return };
    with_arena(|arena| {
        // In one piece, if need be in a new chunk.
        if arena.make_room(layout).is_none() {
            return;
        }
        let start = arena.next as u64 / PAGE * PAGE;
        let end = (arena.next as u64 + bytes as u64) / PAGE * PAGE;
        if start < end {
            populate_writable(start, end - start);
        }
    });
}

/// Zeroed memory that is not sealed; null if there is none.
pub fn unsealed_memory(layout: Layout) -> *mut u8 {
    UNSEALED.with_arena(|arena| arena.take_zeroed(layout))
}

/// Puts a value where it is never sealed, for ever.
///
/// # Panics
/// There is no memory for it.
pub fn leak_unsealed<T>(value: T) -> &'static T {
    let place = unsealed_memory(Layout::new::<T>()).cast::<T>();
    assert!(!place.is_null(), "out of memory");
    // SAFETY: the memory is the value's, and never given back.
    unsafe {
        place.write(value);
        &*place
    }
}

/// An arena and the memory that it starts with. In this order, so that the first allocations share a page with the rest.
#[repr(C)]
pub(super) struct Region<const FIRST: usize> {
    locked: AtomicBool,
    arena: UnsafeCell<Arena>,
    first: UnsafeCell<[u8; FIRST]>,
}

struct Arena {
    /// The next free byte; null until the first allocation.
    next: *mut u8,
    end: *mut u8,
    /// From here to the end no byte has ever been handed out: they are zero.
    untouched: *mut u8,
    /// What has come from the kernel.
    chunk: *mut Chunk,
}

/// Memory from the kernel, linked to what came before it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Chunk {
    previous: *mut Chunk,
    size: usize,
}

// SAFETY: `arena` and `first` are only touched while `locked` is held.
unsafe impl<const FIRST: usize> Sync for Region<FIRST> {}

impl<const FIRST: usize> Region<FIRST> {
    const fn new() -> Self {
        let arena = Arena { next: null_mut(), end: null_mut(), untouched: null_mut(), chunk: null_mut() };
        Self {
            locked: AtomicBool::new(false),
            arena: UnsafeCell::new(arena),
            first: UnsafeCell::new([0; FIRST]),
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
            arena.end = arena.next.wrapping_add(FIRST);
            arena.untouched = arena.next;
        }
        let result = work(arena);
        self.locked.store(false, Ordering::Release);
        result
    }

    /// Makes the arena usable that a thread was using which this process has not got: it has been forked. Only for who keeps all others
    /// from the arena.
    pub(super) fn take_over(&self) {
        self.locked.store(false, Ordering::Relaxed);
    }

    /// Where the memory ends that it starts with.
    pub(super) fn end(&self) -> u64 {
        core::ptr::from_ref(self).wrapping_add(1) as u64
    }

    /// What has come from the kernel, newest first. Nobody allocates meanwhile.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Range<u64>> {
        // SAFETY: the pointer is read while nobody writes.
        let mut next = unsafe { (*self.arena.get()).chunk };
        core::iter::from_fn(move || {
            // SAFETY: chunks are never given back, and their headers never change.
            let chunk = unsafe { next.as_ref() }?;
            let start = next as u64;
            next = chunk.previous;
            Some(start..start + chunk.size as u64)
        })
    }

    fn contains(&self, block: *mut u8) -> bool {
        let block = block as u64;
        (self.first.get() as u64..self.end()).contains(&block)
            || self.chunks().any(|chunk| chunk.contains(&block))
    }
}

/// At least `size` bytes from the kernel.
fn new_chunk(size: usize) -> Option<(*mut Chunk, usize)> {
    let size = size.checked_next_multiple_of(4096)?;
    Memory::zeroed(size as u64).map(0).ok().map(|chunk| (chunk as *mut Chunk, size))
}

impl Arena {
    fn take(&mut self, layout: Layout) -> *mut u8 {
        if let Some(block) = self.carve(layout) {
            return block;
        }
        self.grow(layout).and_then(|()| self.carve(layout)).unwrap_or(null_mut())
    }

    /// Goes on in a new chunk unless there is room for this.
    fn make_room(&mut self, layout: Layout) -> Option<()> {
        match layout.size() <= self.end as usize - self.next as usize {
            true => Some(()),
            false => self.grow(layout),
        }
    }

    /// Goes on in a new chunk, which has room for this.
    fn grow(&mut self, layout: Layout) -> Option<()> {
        let needed = layout.size().saturating_add(layout.align()).saturating_add(size_of::<Chunk>());
        let (chunk, size) = new_chunk(needed.max(CHUNK)).or_else(|| new_chunk(needed))?;
        // SAFETY: the chunk is fresh and has room for its header.
        unsafe { chunk.write(Chunk { previous: self.chunk, size }) };
        self.chunk = chunk;
        self.next = chunk.wrapping_add(1).cast();
        self.end = chunk.cast::<u8>().wrapping_add(size);
        self.untouched = self.next;
        Some(())
    }

    /// The same, zeroed.
    fn take_zeroed(&mut self, layout: Layout) -> *mut u8 {
        let untouched = self.untouched;
        let block = self.take(layout);
        let used = (untouched as usize).saturating_sub(block as usize).min(layout.size());
        // A block from a new chunk is untouched as a whole; only one in the old chunk can begin below the mark.
        if !block.is_null() && self.end as usize >= untouched as usize && block < untouched {
            // SAFETY: within the block.
            unsafe { block.write_bytes(0, used) };
        }
        block
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

    fn give_back(&mut self, block: *mut u8, layout: Layout) {
        if self.is_last(block, layout.size()) {
            self.next = block;
        }
    }

    /// Makes the block longer where it is, if it is the last one.
    fn extend(&mut self, block: *mut u8, layout: Layout, new_size: usize) -> bool {
        let fits = self.is_last(block, layout.size()) && new_size <= self.end as usize - block as usize;
        if fits {
            self.advance(block.wrapping_add(new_size));
        }
        fits
    }
}

/// Runs `work` on the arena that the calling thread is to take memory from.
fn with_arena<R>(work: impl FnOnce(&mut Arena) -> R) -> R {
    match seal::may_change() {
        true => SEALED.with_arena(work),
        false => UNSEALED.with_arena(work),
    }
}

/// Runs `work` on the arena that a block is from, unless that is sealed.
fn with_arena_of<R>(block: *mut u8, work: impl FnOnce(&mut Arena) -> R) -> Option<R> {
    match SEALED.contains(block) {
        true => seal::may_change().then(|| SEALED.with_arena(work)),
        false => Some(UNSEALED.with_arena(work)),
    }
}

// SAFETY: blocks are disjoint parts of the arenas, aligned as asked, and never reused while allocated.
// Not inlined: allocations are many, and none of them is hot.
unsafe impl GlobalAlloc for BumpAllocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        with_arena(|arena| arena.take(layout))
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        with_arena(|arena| arena.take_zeroed(layout))
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        with_arena_of(block, |arena| arena.give_back(block, layout));
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the alignment is that of a valid layout, and the caller guarantees the new size.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // What is not sealed must not become so: the new block is from the same arena, if that can be changed now.
        let in_place = with_arena_of(block, |arena| match arena.extend(block, layout, new_size) {
            true => block,
            false if new_size <= layout.size() => block,
            false => arena.take(new_layout),
        });
        let new = in_place.unwrap_or_else(|| with_arena(|arena| arena.take(new_layout)));
        if !new.is_null() && new != block {
            // SAFETY: the blocks are apart, and as long as their layouts say.
            unsafe { core::ptr::copy_nonoverlapping(block, new, layout.size().min(new_size)) };
        }
        new
    }
}
