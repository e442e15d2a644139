//! Thread-local storage of objects that are loaded later. Each thread gets a block of such a module when it first uses
//! it. That may happen in a signal handler, so nothing here calls malloc or waits for a lock that the thread itself may
//! hold: memory comes from the kernel, and signals are blocked meanwhile.
//!
//! All that a thread has hangs off one word, the loader's slot at the bottom of static thread-local storage, which is zero
//! in a new thread.

use core::ffi::{CStr, c_char};
use core::fmt::{self, Write};
use core::mem::ManuallyDrop;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use alloc::vec::Vec;

use crate::elf::{Address, TlsSegment};
use crate::sys::{self, Errno, MESSAGE_PREFIX, SignalsBlocked, thread_pointer};

use super::StaticTls;

/// Bytes asked from the kernel at a time for a thread's blocks.
const CHUNK: u64 = 64 << 10;

/// What the code generator passes to `__tls_get_addr`, and the loader to its TLSDESC resolver.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TlsIndex {
    /// The module's id.
    pub module: u64,
    /// Offset within its block.
    pub offset: u64,
}

/// A module that was loaded later.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Its initial image.
    pub image: Address,
    /// Sizes and alignment.
    pub segment: TlsSegment,
    /// Its block's offset below the thread pointer, if it got a place in the surplus; else each thread gets a block when it
    /// first uses the module.
    pub offset: Option<u64>,
}

/// The modules that were loaded later, by `id - 1 - number of static modules`, in tables each of which is twice as long as the
/// one before it: none ever moves, so that readers need no lock.
#[unsafe(link_section = ".sealed")]
static TABLES: [AtomicPtr<Module>; 32] = [const { AtomicPtr::new(null_mut()) }; 32];
/// How many of them there are.
#[unsafe(link_section = ".sealed")]
static LATER_MODULES: AtomicUsize = AtomicUsize::new(0);
/// Length of the first table.
const FIRST_TABLE: usize = 16;
/// Bytes from the loader's slot to the thread pointer.
#[unsafe(link_section = ".sealed")]
pub(super) static SLOT_DISTANCE: AtomicU64 = AtomicU64::new(0);
/// Number of modules with static blocks.
#[unsafe(link_section = ".sealed")]
static STATIC_MODULES: AtomicU64 = AtomicU64::new(0);
/// The records of all threads that have one, linked. There is no lock, which a signal handler or the child of a `fork` might
/// find taken: threads push their record at the front, and one of them at a time removes others behind the first.
static THREADS: AtomicPtr<Thread> = AtomicPtr::new(null_mut());
/// How many records there are, about.
static THREAD_COUNT: AtomicUsize = AtomicUsize::new(0);
/// Look for threads that have ended when there are so many records, and no fewer than [`FEWEST_TO_COLLECT`].
static COLLECT_AT: AtomicUsize = AtomicUsize::new(0);
const FEWEST_TO_COLLECT: usize = 64;
/// The process in which a thread is removing records; 0 if none is.
static COLLECTING: AtomicU32 = AtomicU32::new(0);

/// What the loader keeps for a thread. It lies at the beginning of the thread's first chunk.
#[repr(C)]
pub struct Thread {
    /// Blocks by module id; null where there is none yet. Read by `__tls_get_addr`.
    pub(super) blocks: *mut *mut u8,
    /// Length of `blocks`. Read by `__tls_get_addr`.
    pub(super) capacity: u64,
    chunk: *mut Chunk,
    next: *mut Thread,
    /// The thread's id, and the process that it was made in: in the child of a `fork`, the same thread has another id.
    id: u32,
    process: u32,
    failure: Failure,
}

/// The thread's last failure, for `dlerror`: a C string in the thread's own memory.
struct Failure {
    message: *mut u8,
    capacity: usize,
    pending: Pending,
}

/// What `dlerror` has to tell.
#[derive(Clone, Copy)]
enum Pending {
    Nothing,
    Message,
    /// There was no memory for the message.
    Lost,
}

/// What `dlerror` says then, in musl's words.
const LOST_MESSAGE: &CStr = c"Dynamic linker failed to allocate memory for error message";

/// Stands in the slot of a thread that has no memory for its record but something to tell: [`Pending::Lost`].
static WITHOUT_MEMORY: Unchanging = Unchanging(Thread {
    blocks: null_mut(),
    capacity: 0,
    chunk: null_mut(),
    next: null_mut(),
    id: 0,
    process: 0,
    failure: Failure { message: null_mut(), capacity: 0, pending: Pending::Lost },
});

struct Unchanging(Thread);

// SAFETY: nobody changes it.
unsafe impl Sync for Unchanging {}

/// Whether a thread has no record of its own.
fn has_none(thread: *mut Thread) -> bool {
    thread.is_null() || core::ptr::eq(thread, &raw const WITHOUT_MEMORY.0)
}

/// A piece of a thread's memory, linked to the one before it.
#[repr(C)]
struct Chunk {
    previous: *mut Chunk,
    size: u64,
    used: u64,
}

/// Makes the layout known, once.
pub fn publish(layout: &StaticTls) {
    SLOT_DISTANCE.store(layout.size, Ordering::Release);
    STATIC_MODULES.store(layout.offsets.len() as u64 - 1, Ordering::Release);
}

/// Makes modules usable, whose ids follow those known. Only one thread at a time may do that.
pub fn add_modules(modules: &[Module]) {
    for module in modules {
        let index = LATER_MODULES.load(Ordering::Relaxed);
        let (table, place) = table_of(index);
        if place == 0 {
            let memory = Vec::<Module>::with_capacity(FIRST_TABLE << table);
            TABLES[table].store(ManuallyDrop::new(memory).as_mut_ptr(), Ordering::Relaxed);
        }
        // SAFETY: within the table, and nobody reads there before the module is counted.
        unsafe { TABLES[table].load(Ordering::Relaxed).add(place).write(*module) };
        LATER_MODULES.store(index + 1, Ordering::Release);
    }
}

/// Which table a module is in, and its place there.
fn table_of(index: usize) -> (usize, usize) {
    let table = (index / FIRST_TABLE + 1).ilog2();
    (table as usize, index - (FIRST_TABLE * ((1 << table) - 1)))
}

/// A module by its id.
fn module(id: u64) -> Option<&'static Module> {
    let index = id.checked_sub(STATIC_MODULES.load(Ordering::Acquire) + 1)? as usize;
    if index >= LATER_MODULES.load(Ordering::Acquire) {
        return None;
    }
    let (table, place) = table_of(index);
    // SAFETY: modules that are counted are in their tables, which are never freed.
    Some(unsafe { &*TABLES[table].load(Ordering::Relaxed).add(place) })
}

/// The id that the next module gets.
pub fn next_module() -> u64 {
    STATIC_MODULES.load(Ordering::Acquire) + LATER_MODULES.load(Ordering::Acquire) as u64 + 1
}

/// The calling thread's slot.
fn slot() -> *mut *mut Thread {
    (thread_pointer() - SLOT_DISTANCE.load(Ordering::Relaxed)) as *mut *mut Thread
}

/// The address of a variable for the calling thread. `__tls_get_addr` comes here if the thread has no block yet.
pub extern "C" fn address_of(index: &TlsIndex) -> u64 {
    let block = block_of(index.module).unwrap_or_else(|_| {
        let line = format_args!("{MESSAGE_PREFIX}out of memory for thread-local storage\n");
        sys::print(sys::stderr(), line);
        sys::abort()
    });
    block as u64 + index.offset
}

/// The calling thread's block of a module, made if there is none yet.
///
/// # Errors
/// There is no memory.
pub fn block_of(module: u64) -> Result<*mut u8, Errno> {
    let _blocked = SignalsBlocked::new();
    let thread = this_thread()?;
    // SAFETY: the record belongs to this thread, and no signal handler runs meanwhile.
    let thread = unsafe { &mut *thread };
    thread.make_room(module)?;
    // SAFETY: `make_room` has made the table long enough.
    let place = unsafe { &mut *thread.blocks.add(module as usize) };
    if place.is_null() {
        let found = self::module(module).ok_or(Errno::INVAL)?;
        *place = match found.offset {
            Some(offset) => (thread_pointer() - offset) as *mut u8,
            None => thread.new_block(found)?,
        };
    }
    Ok(*place)
}

/// The calling thread's record, made if there is none yet. Signals are blocked.
fn this_thread() -> Result<*mut Thread, Errno> {
    let slot = slot();
    // SAFETY: the slot is this thread's own and holds null or its record.
    unsafe {
        if has_none(*slot) {
            *slot = new_thread()?;
        }
        Ok(*slot)
    }
}

fn new_thread() -> Result<*mut Thread, Errno> {
    if THREAD_COUNT.fetch_add(1, Ordering::Relaxed)
        >= COLLECT_AT.load(Ordering::Relaxed).max(FEWEST_TO_COLLECT)
    {
        collect();
    }
    let chunk = new_chunk(CHUNK, null_mut())?;
    // SAFETY: the chunk is fresh, large enough, aligned to a page, and belongs to this thread.
    unsafe {
        let thread = chunk.add(1).cast::<Thread>();
        (*chunk).used += size_of::<Thread>() as u64;
        thread.write(Thread {
            blocks: null_mut(),
            capacity: 0,
            chunk,
            next: null_mut(),
            id: sys::thread_id(),
            process: sys::process_id(),
            failure: Failure { message: null_mut(), capacity: 0, pending: Pending::Nothing },
        });
        let mut first = THREADS.load(Ordering::Relaxed);
        loop {
            (*thread).next = first;
            match THREADS.compare_exchange_weak(first, thread, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(thread),
                Err(other) => first = other,
            }
        }
    }
}

/// Gives back what belongs to threads that have ended. Only then can no destructor use it any more: those of C++ and of
/// pthread keys run in the thread itself. What a forked child has inherited from its parent's threads stays.
fn collect() {
    let process = sys::process_id();
    let before = COLLECTING.load(Ordering::Relaxed);
    // Another process' id is left over from a `fork` in the middle of this.
    let free = before != process
        && COLLECTING.compare_exchange(before, process, Ordering::Acquire, Ordering::Relaxed).is_ok();
    if !free {
        return;
    }
    let mut remaining = 0;
    let mut thread = THREADS.load(Ordering::Acquire);
    // SAFETY: records are only removed here, by one thread at a time, and never the first, which others may be changing;
    // a thread that is gone uses its record no more.
    unsafe {
        while !thread.is_null() {
            remaining += 1;
            let next = (*thread).next;
            if next.is_null() || (*next).process != process || sys::thread_exists((*next).id) {
                thread = next;
                continue;
            }
            (*thread).next = (*next).next;
            let mut chunk = (*next).chunk;
            while !chunk.is_null() {
                let previous = (*chunk).previous;
                sys::unmap(chunk as u64, (*chunk).size);
                chunk = previous;
            }
        }
    }
    THREAD_COUNT.store(remaining, Ordering::Relaxed);
    COLLECT_AT.store(2 * remaining, Ordering::Relaxed);
    COLLECTING.store(0, Ordering::Release);
}

fn new_chunk(size: u64, previous: *mut Chunk) -> Result<*mut Chunk, Errno> {
    let chunk = sys::Memory::zeroed(size).map(0)? as *mut Chunk;
    // SAFETY: fresh memory of at least a page.
    unsafe { chunk.write(Chunk { previous, size, used: size_of::<Chunk>() as u64 }) };
    Ok(chunk)
}

impl Thread {
    /// Zeroed memory for the life of the thread.
    fn allocate(&mut self, size: u64, align: u64) -> Result<*mut u8, Errno> {
        loop {
            // SAFETY: the chunk is this thread's own.
            let chunk = unsafe { &mut *self.chunk };
            let base = self.chunk as u64;
            let start = (base + chunk.used).next_multiple_of(align);
            if start + size <= base + chunk.size {
                chunk.used = start + size - base;
                return Ok(start as *mut u8);
            }
            let needed = size.checked_add(align).and_then(|size| size.checked_add(size_of::<Chunk>() as u64));
            let needed = crate::elf::page_up(needed.ok_or(Errno::NOMEM)?).max(CHUNK);
            self.chunk = new_chunk(needed, self.chunk)?;
        }
    }

    /// Makes the table of blocks long enough for a module.
    fn make_room(&mut self, module: u64) -> Result<(), Errno> {
        if module < self.capacity {
            return Ok(());
        }
        let capacity = (module + 1).next_power_of_two().max(16);
        let blocks = self.allocate(capacity * size_of::<*mut u8>() as u64, 8)?.cast::<*mut u8>();
        // SAFETY: the new table is longer than the old one and apart from it.
        unsafe { core::ptr::copy_nonoverlapping(self.blocks, blocks, self.capacity as usize) };
        self.blocks = blocks;
        self.capacity = capacity;
        Ok(())
    }

    /// A block with its initial contents, at an address that is congruent to the image's modulo its alignment.
    fn new_block(&mut self, module: &Module) -> Result<*mut u8, Errno> {
        let segment = &module.segment;
        let remainder = module.image.0 & (segment.align - 1);
        let block = self.allocate(segment.memsz + remainder, segment.align)?.wrapping_add(remainder as usize);
        // SAFETY: the image is mapped (`Segments::parse`), the block is fresh and at least as long.
        unsafe {
            core::ptr::copy_nonoverlapping(module.image.0 as *const u8, block, segment.filesz as usize);
        }
        Ok(block)
    }
}

/// Remembers why a call of this thread fails.
pub fn set_failure(message: fmt::Arguments<'_>) {
    struct Length(usize);
    impl fmt::Write for Length {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            sys::raw_bytes(text, |bytes| self.0 += bytes.len());
            Ok(())
        }
    }
    struct Buffer(*mut u8);
    impl fmt::Write for Buffer {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            sys::raw_bytes(text, |bytes| {
                // SAFETY: there is room for all of the message.
                unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len()) };
                self.0 = self.0.wrapping_add(bytes.len());
            });
            Ok(())
        }
    }
    let _blocked = SignalsBlocked::new();
    let Ok(thread) = this_thread() else {
        // SAFETY: the slot is this thread's own.
        unsafe { *slot() = (&raw const WITHOUT_MEMORY.0).cast_mut() };
        return;
    };
    // SAFETY: the record is this thread's own, and no signal handler runs meanwhile.
    let thread = unsafe { &mut *thread };
    thread.failure.pending = Pending::Lost;
    let mut length = Length(1);
    // Neither of the writers fails.
    let _ = length.write_fmt(message);
    if length.0 > thread.failure.capacity {
        let capacity = length.0.next_power_of_two().max(256);
        let Ok(buffer) = thread.allocate(capacity as u64, 1) else { return };
        thread.failure.message = buffer;
        thread.failure.capacity = capacity;
    }
    let mut buffer = Buffer(thread.failure.message);
    let _ = buffer.write_fmt(message);
    // SAFETY: the length includes the terminating NUL.
    unsafe { buffer.0.write(0) };
    thread.failure.pending = Pending::Message;
}

/// The failure of this thread that has not been fetched yet, as a C string.
pub fn take_failure() -> *mut c_char {
    let slot = slot();
    // SAFETY: as in `set_failure`; `dlerror` is not for signal handlers.
    let thread = unsafe {
        if core::ptr::eq(*slot, &raw const WITHOUT_MEMORY.0) {
            *slot = null_mut();
            return LOST_MESSAGE.as_ptr().cast_mut();
        }
        (*slot).as_mut()
    };
    let Some(Failure { message, pending, .. }) = thread.map(|thread| &mut thread.failure) else {
        return null_mut();
    };
    match core::mem::replace(pending, Pending::Nothing) {
        Pending::Nothing => null_mut(),
        Pending::Message => message.cast(),
        Pending::Lost => LOST_MESSAGE.as_ptr().cast_mut(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_modules_follow_one_another() {
        let mut next = (0, 0);
        for index in 0..10_000 {
            assert_eq!(table_of(index), next);
            next = match next {
                (table, place) if place + 1 == FIRST_TABLE << table => (table + 1, 0),
                (table, place) => (table, place + 1),
            };
        }
    }
}
