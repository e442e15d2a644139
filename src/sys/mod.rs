//! What the loader needs of the operating system: the few system calls (counted), memory for its own data, and
//! a way to say something. Knows nothing of ELF or of programs.

mod alloc;
pub mod bare;
mod calls;
mod errno;
mod files;
mod lock;
mod logger;
mod scratch;
mod seal;
mod x86_64;

pub use alloc::{BumpAllocator, leak_unsealed, memory_is_available, provide_memory, unsealed_memory};
pub use calls::{
    Errno, Memory, MemoryFlags, SignalsBlocked, abort, advise_huge_pages, advise_no_dump,
    advise_no_readahead, announce, change_protection, clock_nanoseconds, control, count_calls, execute, exit,
    populate_readable, populate_writable, process_id, set_thread_pointer, system_call_count, thread_count,
    thread_exists, thread_id, unmap,
};
pub use errno::errno_text;
pub use files::{
    Directory, File, FileIdentity, FileStamp, FileStatus, create_file, file_status, link_status, open,
    read_link, remove_file, rename, send_datagram, write_all, write_new_file,
};
pub use lock::{Condition, Guard, Mutex, ProcessLock};
pub use logger::{MESSAGE_PREFIX, Text, init_logging, is_stand_in, print, raw_bytes, stderr, stdout};
pub use rustix::fd::{AsFd, BorrowedFd};
pub use scratch::Scratch;
pub use seal::{Window, seal};
pub use x86_64::{prefetch, thread_pointer};
