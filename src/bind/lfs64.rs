//! The names of the large-file interface. musl's functions have always had 64-bit offsets; its loader still binds the
//! names that old programs ask for (`get_lfs64`).

/// The functions that have a `64` twin.
const NAMES: &[&[u8]] = &[
    b"aio_cancel",
    b"aio_error",
    b"aio_fsync",
    b"aio_read",
    b"aio_return",
    b"aio_suspend",
    b"aio_write",
    b"alphasort",
    b"creat",
    b"fallocate",
    b"fgetpos",
    b"fopen",
    b"freopen",
    b"fseeko",
    b"fsetpos",
    b"fstat",
    b"fstatat",
    b"fstatfs",
    b"fstatvfs",
    b"ftello",
    b"ftruncate",
    b"ftw",
    b"getdents",
    b"getrlimit",
    b"glob",
    b"globfree",
    b"lio_listio",
    b"lockf",
    b"lseek",
    b"lstat",
    b"mkostemp",
    b"mkostemps",
    b"mkstemp",
    b"mkstemps",
    b"mmap",
    b"nftw",
    b"open",
    b"openat",
    b"posix_fadvise",
    b"posix_fallocate",
    b"pread",
    b"preadv",
    b"prlimit",
    b"pwrite",
    b"pwritev",
    b"readdir",
    b"scandir",
    b"sendfile",
    b"setrlimit",
    b"stat",
    b"statfs",
    b"statvfs",
    b"tmpfile",
    b"truncate",
    b"versionsort",
    b"__fxstat",
    b"__fxstatat",
    b"__lxstat",
    b"__xstat",
];

/// The plain name that a name of the large-file interface stands for.
pub fn plain_name(name: &[u8]) -> Option<&'static [u8]> {
    if name == b"readdir64_r" {
        return Some(b"readdir_r");
    }
    let plain = name.strip_suffix(b"64")?;
    NAMES.iter().find(|known| **known == plain).copied()
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn only_known_names_lose_their_suffix() {
        assert_eq!(plain_name(b"fopen64"), Some(&b"fopen"[..]));
        assert_eq!(plain_name(b"posix_fallocate64"), Some(&b"posix_fallocate"[..]));
        assert_eq!(plain_name(b"readdir64_r"), Some(&b"readdir_r"[..]));
        assert_eq!(plain_name(b"fopen"), None);
        assert_eq!(plain_name(b"strlen64"), None);
        assert_eq!(plain_name(b"64"), None);
    }
}
