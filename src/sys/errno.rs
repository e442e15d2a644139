//! Error numbers in musl's words: its messages end in `%m`, and users know these texts.

use super::Errno;

/// musl's `strerror` for the errors that opening, reading and mapping files can give.
pub fn errno_text(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM => "Operation not permitted",
        Errno::NOENT => "No such file or directory",
        Errno::INTR => "Interrupted system call",
        Errno::IO => "I/O error",
        Errno::NXIO => "No such device or address",
        Errno::NOEXEC => "Exec format error",
        Errno::BADF => "Bad file descriptor",
        Errno::AGAIN => "Resource temporarily unavailable",
        Errno::NOMEM => "Out of memory",
        Errno::ACCESS => "Permission denied",
        Errno::FAULT => "Bad address",
        Errno::BUSY => "Resource busy",
        Errno::EXIST => "File exists",
        Errno::NODEV => "No such device",
        Errno::NOTDIR => "Not a directory",
        Errno::ISDIR => "Is a directory",
        Errno::INVAL => "Invalid argument",
        Errno::NFILE => "Too many open files in system",
        Errno::MFILE => "No file descriptors available",
        Errno::TXTBSY => "Text file busy",
        Errno::FBIG => "File too large",
        Errno::NOSPC => "No space left on device",
        Errno::SPIPE => "Invalid seek",
        Errno::ROFS => "Read-only file system",
        Errno::NAMETOOLONG => "Filename too long",
        Errno::NOSYS => "Function not implemented",
        Errno::LOOP => "Symbolic link loop",
        Errno::OVERFLOW => "Value too large for data type",
        Errno::STALE => "Stale file handle",
        Errno::TIMEDOUT => "Operation timed out",
        Errno::NOTCONN => "Socket not connected",
        Errno::OPNOTSUPP => "Not supported",
        Errno::REMOTEIO => "Remote I/O error",
        Errno::DQUOT => "Quota exceeded",
        _ => "No error information",
    }
}
