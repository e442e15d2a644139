//! System calls about files, each counted: opening, reading, looking at them, and the little that the loader writes.

use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::bare;
use super::calls::{Errno, count};

/// An open file; closed when dropped.
#[derive(Debug)]
pub struct File(OwnedFd);

/// Two paths lead to the same file if these agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

/// The state of a file: whoever changes the file changes the stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Which file.
    pub identity: FileIdentity,
    /// Bytes.
    pub size: u64,
    /// `st_mtime`, in nanoseconds.
    pub modified: u64,
    /// `st_ctime`, in nanoseconds.
    pub changed: u64,
}

/// What there is to know of a file but its contents.
#[derive(Clone, Copy, Debug)]
pub struct FileStatus {
    /// Its state.
    pub stamp: FileStamp,
    /// `st_uid`
    pub owner: u32,
    /// `st_mode`
    pub mode: u32,
}

impl From<rustix::fs::Stat> for FileStatus {
    fn from(stat: rustix::fs::Stat) -> Self {
        let nanoseconds =
            |seconds: i64, rest: u64| (seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(rest);
        let stamp = FileStamp {
            identity: FileIdentity { device: stat.st_dev, inode: stat.st_ino },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        };
        Self { stamp, owner: stat.st_uid, mode: stat.st_mode }
    }
}

impl File {
    /// The descriptor's number, for requests to the kernel that name it.
    pub fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// What there is to know.
    ///
    /// # Errors
    /// What `fstat` says.
    pub fn full_status(&self) -> Result<FileStatus, Errno> {
        count();
        rustix::fs::fstat(&self.0).map(FileStatus::from)
    }

    /// Identity and size in bytes.
    ///
    /// # Errors
    /// What `fstat` says.
    pub fn status(&self) -> Result<(FileIdentity, u64), Errno> {
        let stamp = self.full_status()?.stamp;
        Ok((stamp.identity, stamp.size))
    }

    /// Reads the beginning of the file, as much as one system call gives; returns what has been read.
    ///
    /// # Errors
    /// What `read` says.
    pub fn read_at_once<'a>(&self, buffer: &'a mut [MaybeUninit<u8>]) -> Result<&'a [u8], Errno> {
        count();
        bare::read(self.0.as_fd(), buffer)
    }

    /// Reads from `offset` until `buffer` is full or the file ends; returns how many bytes that were.
    ///
    /// # Errors
    /// What `pread` says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut filled = 0;
        while filled < buffer.len() {
            count();
            match bare::read_at(self.0.as_fd(), &mut buffer[filled..], offset.wrapping_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// All that is in it.
    ///
    /// # Errors
    /// What `fstat` and `pread` say; `ENOMEM` if it is larger than memory can be.
    pub fn contents(&self) -> Result<Vec<u8>, Errno> {
        let (_, size) = self.status()?;
        let mut contents = vec![0; usize::try_from(size).map_err(|_| Errno::NOMEM)?];
        let read = self.read_at(&mut contents, 0)?;
        contents.truncate(read);
        Ok(contents)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        count();
    }
}

/// Opens a file for reading, close-on-exec. Does not wait for anybody, should the file be a FIFO.
///
/// # Errors
/// What `open` says.
pub fn open(path: &CStr) -> Result<File, Errno> {
    count();
    bare::open(path).map(File)
}

/// Where a symbolic link points to, read into `buffer`; cut off silently if that is too short.
///
/// # Errors
/// What `readlink` says.
pub fn read_link<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    count();
    rustix::fs::readlinkat_raw(rustix::fs::CWD, path, &mut buffer[..]).map(|length| &buffer[..length])
}

/// What there is to know of the file that a path leads to.
///
/// # Errors
/// What `stat` says.
pub fn file_status(path: &CStr) -> Result<FileStatus, Errno> {
    count();
    rustix::fs::stat(path).map(FileStatus::from)
}

/// The same of the path itself, should it be a symbolic link.
///
/// # Errors
/// What `lstat` says.
pub fn link_status(path: &CStr) -> Result<FileStatus, Errno> {
    count();
    rustix::fs::lstat(path).map(FileStatus::from)
}

/// A directory from which files are looked at: that is faster than to go all the way to each.
#[derive(Debug)]
pub struct Directory(File);

impl Directory {
    /// The directory that a path leads to.
    ///
    /// # Errors
    /// What `open` says.
    pub fn open(path: &CStr) -> Result<Self, Errno> {
        count();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(|directory| Self(File(directory)))
    }

    /// What there is to know of the file that a path leads to which begins here.
    ///
    /// # Errors
    /// What `fstatat` says.
    pub fn file_status(&self, path: &CStr) -> Result<FileStatus, Errno> {
        count();
        rustix::fs::statat(&self.0, path, AtFlags::empty()).map(FileStatus::from)
    }
}

/// Creates or truncates the file at `path` and writes `bytes`.
///
/// # Errors
/// What `open` or `write` say.
pub fn write_new_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    count();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = File(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?);
    write_all(file.as_fd(), bytes)
}

/// Makes a file for writing, with exactly these permissions. There must be none.
///
/// # Errors
/// What `open` or `fchmod` say.
pub fn create_file(path: &CStr, mode: u32) -> Result<File, Errno> {
    count();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode);
    let file = File(rustix::fs::open(path, flags, mode)?);
    count();
    rustix::fs::fchmod(&file, mode)?;
    Ok(file)
}

/// Gives a file another name, in place of what has that name.
///
/// # Errors
/// What `rename` says.
pub fn rename(from: &CStr, to: &CStr) -> Result<(), Errno> {
    count();
    rustix::fs::rename(from, to)
}

/// Removes a name of a file.
///
/// # Errors
/// What `unlink` says.
pub fn remove_file(path: &CStr) -> Result<(), Errno> {
    count();
    rustix::fs::unlink(path)
}

/// Writes all of `bytes`.
///
/// # Errors
/// What `write` says.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        count();
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends one datagram to the local socket at `path`, without waiting for anybody.
///
/// # Errors
/// What `socket` or `sendto` say.
pub fn send_datagram(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    count();
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).map(File)?;
    count();
    net::sendto(&socket, bytes, SendFlags::NOSIGNAL, &address).map(|_| ())
}
