//! System calls that need no memory of the loader's own, not even to be counted: for the time before it has any (see
//! `start::x86_64`), and for all others to build upon.

use core::ffi::{CStr, c_void};
use core::mem::MaybeUninit;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::calls::{Errno, MemoryFlags};

fn protection(access: MemoryFlags) -> ProtFlags {
    let mut flags = ProtFlags::empty();
    flags.set(ProtFlags::READ, access.contains(MemoryFlags::READ));
    flags.set(ProtFlags::WRITE, access.contains(MemoryFlags::WRITE));
    flags.set(ProtFlags::EXEC, access.contains(MemoryFlags::EXECUTE));
    flags
}

/// Opens a file for reading, close-on-exec. Does not wait for anybody, should the file be a FIFO.
///
/// # Errors
/// What `open` says.
#[inline]
pub fn open(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Reads from where the file has been read up to, as much as one system call gives; returns what has been read.
///
/// # Errors
/// What `read` says.
#[inline]
pub fn read<'a>(file: BorrowedFd<'_>, buffer: &'a mut [MaybeUninit<u8>]) -> Result<&'a [u8], Errno> {
    rustix::io::read(file, buffer).map(|(read, _)| &*read)
}

/// Reads from `offset` as much as one system call gives; returns how many bytes that were.
///
/// # Errors
/// What `pread` says.
#[inline]
pub fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::pread(file, buffer, offset)
}

/// Maps `length` bytes of a file from an offset on, or of zeros. Returns where.
///
/// # Errors
/// What `mmap` says.
///
/// # Safety
/// With `MAP_FIXED`, the pages at `address` belong to the caller and nothing refers to their old contents.
#[inline]
pub(super) unsafe fn map(
    address: u64,
    length: u64,
    access: MemoryFlags,
    flags: MapFlags,
    file: Option<(BorrowedFd<'_>, u64)>,
) -> Result<u64, Errno> {
    let (address, length, access) = (address as *mut c_void, length as usize, protection(access));
    // SAFETY: passed on to the caller.
    let pointer = unsafe {
        match file {
            Some((file, offset)) => rustix::mm::mmap(address, length, access, flags, file, offset),
            None => rustix::mm::mmap_anonymous(address, length, access, flags),
        }
    }?;
    Ok(pointer as u64)
}

/// Maps private pages at `address`, which must be free.
///
/// # Errors
/// What `mmap` says: `EEXIST` if it is not.
#[inline]
pub fn map_private(
    address: u64,
    length: u64,
    access: MemoryFlags,
    file: Option<(BorrowedFd<'_>, u64)>,
) -> Result<(), Errno> {
    map_free(address, length, access, MapFlags::PRIVATE, file)
}

/// Maps pages at `address`, which must be free.
///
/// # Errors
/// What `mmap` says: `EEXIST` if it is not.
#[inline]
pub(super) fn map_free(
    address: u64,
    length: u64,
    access: MemoryFlags,
    flags: MapFlags,
    file: Option<(BorrowedFd<'_>, u64)>,
) -> Result<(), Errno> {
    let flags = flags | MapFlags::FIXED_NOREPLACE;
    // SAFETY: without MAP_FIXED it is new memory: it replaces nothing that anybody refers to.
    let mapped = unsafe { map(address, length, access, flags, file) }?;
    if mapped != address {
        // Before Linux 4.17 the address was a mere hint.
        // SAFETY: mapped just now, and known to nobody.
        unsafe { unmap(mapped, length) };
        return Err(Errno::EXIST);
    }
    Ok(())
}

/// Puts zeroed memory in the place of whole pages.
///
/// # Errors
/// What `mmap` says.
///
/// # Safety
/// The pages belong to the caller, and nothing refers to their old contents.
pub unsafe fn map_zeros_over(address: u64, length: u64) -> Result<(), Errno> {
    let (access, flags) = (MemoryFlags::READ | MemoryFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
    // SAFETY: passed on to the caller.
    unsafe { map(address, length, access, flags, None) }.map(|_| ())
}

/// Changes what may be done with whole pages.
///
/// # Errors
/// What `mprotect` says.
///
/// # Safety
/// The pages belong to the caller, and nobody who still refers to them needs the rights that are taken away.
#[inline]
pub unsafe fn protect(address: u64, length: u64, access: MemoryFlags) -> Result<(), Errno> {
    let flags = MprotectFlags::from_bits_retain(protection(access).bits());
    // SAFETY: the caller vouches for the pages.
    unsafe { rustix::mm::mprotect(address as *mut c_void, length as usize, flags) }
}

/// Says something on standard error.
#[cold]
pub fn complain(line: &[u8]) {
    // Whoever has closed it does not want to know.
    let _ = rustix::io::write(super::stderr(), line);
}

/// Gives pages back. Failure (a hole already) changes nothing for the caller.
///
/// # Safety
/// The pages belong to the caller and nothing refers to them any more.
#[inline]
pub unsafe fn unmap(address: u64, length: u64) {
    // SAFETY: the caller vouches for the pages.
    let _ = unsafe { rustix::mm::munmap(address as *mut c_void, length as usize) };
}
