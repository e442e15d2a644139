//! The system calls, each counted for `LD_MORSEL_STATS`: through rustix, but for a few that it keeps to itself.

use core::ffi::{CStr, c_void};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fd::AsFd;
use rustix::mm::MapFlags;

use linux_raw_sys::general::{
    __NR_arch_prctl, __NR_clock_gettime, __NR_execve, __NR_exit_group, __NR_getpid, __NR_rt_sigprocmask,
    __NR_tgkill, ARCH_SET_FS, CLOCK_MONOTONIC, SIG_SETMASK, SIGABRT, SIGURG,
};

use super::bare;
use super::files::File;
use super::seal;
use super::x86_64::{system_call, system_call4};

pub use rustix::io::Errno;

#[unsafe(link_section = ".sealed")]
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts one system call of the start, which has one thread, so that no locked instruction is needed.
pub(super) fn count() {
    count_calls(1);
}

/// Counts system calls that have been made by way of `bare`.
pub fn count_calls(calls: u64) {
    if !seal::is_sealed() {
        COUNT.store(COUNT.load(Relaxed) + calls, Relaxed);
    }
}

/// How many system calls the loader has made for the start.
pub fn system_call_count() -> u64 {
    COUNT.load(Relaxed)
}

bitflags::bitflags! {
    /// What may be done with pages.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MemoryFlags: u32 {
        /// They may be read.
        const READ = 1;
        /// They may be written.
        const WRITE = 2;
        /// They may be executed.
        const EXECUTE = 4;
    }
}

/// Asks a device for something.
///
/// # Errors
/// What `ioctl` says.
///
/// # Safety
/// Whatever the request demands of its argument, and what it does to memory.
pub unsafe fn control(device: &File, request: u32, argument: *mut c_void) -> Result<(), Errno> {
    count();
    let (fd, request) = (device.descriptor() as usize, request as usize);
    // SAFETY: passed on to the caller.
    let result = unsafe { system_call(linux_raw_sys::general::__NR_ioctl, fd, request, argument as usize) };
    if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(()) }
}

/// Asks for whole pages of private memory to be there, ready to be written: a hint, which old kernels do not know.
pub fn populate_writable(address: u64, length: u64) {
    count();
    let advice = rustix::mm::Advice::LinuxPopulateWrite;
    // SAFETY: the advice changes nothing that can be read.
    let _ = unsafe { rustix::mm::madvise(address as *mut c_void, length as usize, advice) };
}

/// Asks for whole pages to be mapped as if they had been read: a hint, likewise.
#[cold]
pub fn populate_readable(address: u64, length: u64) {
    count();
    let advice = rustix::mm::Advice::LinuxPopulateRead;
    // SAFETY: the advice changes nothing that can be read.
    let _ = unsafe { rustix::mm::madvise(address as *mut c_void, length as usize, advice) };
}

/// Of the file that is mapped at these whole pages, the kernel reads nothing into memory but what is touched.
///
/// # Errors
/// What `madvise` says.
#[cold]
pub fn advise_no_readahead(pages: Range<u64>) -> Result<(), Errno> {
    count();
    let length = (pages.end - pages.start) as usize;
    // SAFETY: the advice changes nothing that can be read.
    unsafe { rustix::mm::madvise(pages.start as *mut c_void, length, rustix::mm::Advice::Random) }
}

/// Keeps pages out of core dumps. What matters here is that the kernel then has a mapping of its own for them.
///
/// # Errors
/// What `madvise` says.
#[cold]
pub fn advise_no_dump(pages: Range<u64>) -> Result<(), Errno> {
    count();
    let length = (pages.end - pages.start) as usize;
    // SAFETY: the advice changes nothing that can be read.
    unsafe { rustix::mm::madvise(pages.start as *mut c_void, length, rustix::mm::Advice::LinuxDontDump) }
}

/// Asks for huge pages in a range of whole pages.
///
/// # Errors
/// What `madvise` says.
pub fn advise_huge_pages(pages: Range<u64>) -> Result<(), Errno> {
    count();
    let length = (pages.end - pages.start) as usize;
    // SAFETY: the advice changes nothing that can be read.
    unsafe { rustix::mm::madvise(pages.start as *mut c_void, length, rustix::mm::Advice::LinuxHugepage) }
}

/// Memory to be mapped: zeroed unless a file backs it.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    /// Bytes.
    pub length: u64,
    /// What may be done with it.
    pub access: MemoryFlags,
    /// The file that backs it, and where in the file it begins.
    pub file: Option<(&'a File, u64)>,
    /// All of its pages are wanted at once.
    pub populate: bool,
    /// It is never written to, nor made writable (`MAP_SHARED`); otherwise private.
    pub shared: bool,
}

impl Memory<'_> {
    /// Zeroed memory for the loader's own use.
    pub fn zeroed(length: u64) -> Self {
        let access = MemoryFlags::READ | MemoryFlags::WRITE;
        Self { length, access, file: None, populate: false, shared: false }
    }

    /// Maps it at `hint` if that is free, else where the kernel likes. Returns where.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn map(&self, hint: u64) -> Result<u64, Errno> {
        // SAFETY: a mapping without MAP_FIXED is new memory: it replaces nothing that anybody refers to.
        unsafe { self.map_with(hint, MapFlags::empty()) }
    }

    /// Maps it at `address`, which must be free.
    ///
    /// # Errors
    /// What `mmap` says: `EEXIST` if it is not.
    pub fn map_free(&self, address: u64) -> Result<(), Errno> {
        count();
        let file = self.file.map(|(file, offset)| (file.as_fd(), offset));
        bare::map_free(address, self.length, self.access, self.flags(), file)
    }

    /// Maps it at `address`, in place of what is there.
    ///
    /// # Errors
    /// What `mmap` says.
    ///
    /// # Safety
    /// The pages belong to the caller and nothing refers to their old contents.
    pub unsafe fn map_over(&self, address: u64) -> Result<(), Errno> {
        // SAFETY: passed on to the caller.
        unsafe { self.map_with(address, MapFlags::FIXED) }.map(|_| ())
    }

    /// # Safety
    /// With `MAP_FIXED`, as for [`Memory::map_over`].
    unsafe fn map_with(&self, address: u64, placement: MapFlags) -> Result<u64, Errno> {
        count();
        let file = self.file.map(|(file, offset)| (file.as_fd(), offset));
        // SAFETY: passed on to the caller.
        unsafe { bare::map(address, self.length, self.access, self.flags() | placement, file) }
    }

    fn flags(&self) -> MapFlags {
        let mut flags = if self.shared { MapFlags::SHARED } else { MapFlags::PRIVATE };
        flags.set(MapFlags::POPULATE, self.populate);
        flags
    }
}

/// Changes what may be done with whole pages.
///
/// # Errors
/// What `mprotect` says.
///
/// # Safety
/// The pages belong to the caller, and nobody who still refers to them needs the rights that are taken away.
pub unsafe fn change_protection(address: u64, length: u64, flags: MemoryFlags) -> Result<(), Errno> {
    count();
    // SAFETY: the caller vouches for the pages.
    unsafe { bare::protect(address, length, flags) }
}

/// Gives pages back. Failure (a hole already) changes nothing for the caller.
///
/// # Safety
/// The pages belong to the caller and nothing refers to them any more.
pub unsafe fn unmap(address: u64, length: u64) {
    count();
    // SAFETY: the caller vouches for the pages.
    unsafe { bare::unmap(address, length) };
}

/// Monotonic time in nanoseconds.
pub fn clock_nanoseconds() -> u64 {
    count();
    let mut time = [0_u64; 2];
    // SAFETY: the second argument is room for a `timespec`, two words.
    unsafe { system_call(__NR_clock_gettime, CLOCK_MONOTONIC as usize, time.as_mut_ptr() as usize, 0) };
    time[0] * 1_000_000_000 + time[1]
}

/// Sets the thread pointer (the base of the `fs` segment).
///
/// # Safety
/// `thread_pointer` points to a thread control block, and no code relies on the old one.
pub unsafe fn set_thread_pointer(thread_pointer: u64) {
    count();
    // SAFETY: passed on to the caller.
    unsafe { system_call(__NR_arch_prctl, ARCH_SET_FS as usize, thread_pointer as usize, 0) };
}

/// The calling thread's id.
pub fn thread_id() -> u32 {
    count();
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// This process' id.
pub fn process_id() -> u32 {
    count();
    // SAFETY: the call has no arguments.
    unsafe { system_call(__NR_getpid, 0, 0, 0) as u32 }
}

/// Whether a thread of this process with that id is alive. Ids are reused: "yes" may mean another thread.
pub fn thread_exists(id: u32) -> bool {
    count();
    // SAFETY: signal 0 is never delivered: the call only checks.
    let result = unsafe {
        let process = system_call(__NR_getpid, 0, 0, 0);
        system_call(__NR_tgkill, process as usize, id as usize, 0)
    };
    result != -(Errno::SRCH.raw_os_error() as isize)
}

/// How many threads the process has, if `/proc` tells.
pub fn thread_count() -> Option<u64> {
    count();
    let tasks = rustix::fs::stat(c"/proc/self/task").ok()?;
    tasks.st_nlink.checked_sub(2)
}

/// While it exists, no signal handler runs in the calling thread.
pub struct SignalsBlocked {
    before: u64,
}

impl SignalsBlocked {
    /// Blocks all signals.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        Self { before: change_signal_mask(!0) }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        change_signal_mask(self.before);
    }
}

/// Sets the calling thread's signal mask and returns the old one.
fn change_signal_mask(mask: u64) -> u64 {
    count();
    let mut before = 0_u64;
    // SAFETY: the kernel's signal set has 64 bits, which the fourth argument says.
    unsafe {
        system_call4(
            __NR_rt_sigprocmask,
            SIG_SETMASK as usize,
            &raw const mask as usize,
            &raw mut before as usize,
            size_of::<u64>(),
        );
    }
    before
}

/// Ends the process by `SIGABRT`.
pub fn abort() -> ! {
    // SAFETY: ending the process asks nothing of anybody.
    unsafe {
        let process = system_call(__NR_getpid, 0, 0, 0) as usize;
        change_signal_mask(0);
        system_call(__NR_tgkill, process, thread_id() as usize, SIGABRT as usize);
    }
    // A handler that returns, or an ignored signal, does not save it.
    exit(128 + SIGABRT as i32)
}

/// Sends this thread `SIGURG`: a tracer sees it; without one it is ignored, unless the program says otherwise.
#[cold]
pub fn announce() {
    count();
    // SAFETY: the calls touch no memory.
    unsafe {
        let process = system_call(__NR_getpid, 0, 0, 0) as usize;
        count();
        system_call(__NR_tgkill, process, thread_id() as usize, SIGURG as usize);
    }
}

/// Replaces this process by another program; returns only on failure.
///
/// # Safety
/// `argv` and `envp` are null-terminated arrays of C strings.
pub unsafe fn execute(path: &CStr, argv: *const *const u8, envp: *const *const u8) -> Errno {
    count();
    // SAFETY: passed on to the caller.
    let result = unsafe { system_call(__NR_execve, path.as_ptr() as usize, argv as usize, envp as usize) };
    Errno::from_raw_os_error(-result as i32)
}

/// Ends the process with all its threads.
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: ending the process asks nothing of anybody.
        unsafe { system_call(__NR_exit_group, code as usize, 0, 0) };
    }
}
