//! Path lists and `$ORIGIN`: which file names a library name stands for. Pure string work.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// musl's `NAME_MAX`: a longer library name is not searched for.
pub const LONGEST_NAME: usize = 255;
/// musl composes candidates in a buffer of this size (`2*NAME_MAX+2`, terminating NUL included) and skips longer ones.
pub const CANDIDATE_BUFFER: usize = 2 * LONGEST_NAME + 2;
/// Where musl looks when there is no path file.
pub const DEFAULT_SYSTEM_PATH: &[u8] = b"/lib:/usr/local/lib:/usr/lib";

/// The directories of a list, separated by colons or newlines. Empty elements do not mean the current directory.
pub fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b':' || byte == b'\n').filter(|directory| !directory.is_empty())
}

/// The libraries that a value of `LD_PRELOAD` names.
pub fn preloads(list: Option<&CStr>) -> impl Iterator<Item = &[u8]> {
    let list = list.map_or(&b""[..], CStr::to_bytes);
    let names = list.split(|&byte| byte == b':' || byte.is_ascii_whitespace() || byte == 0x0b);
    names.filter(|name| !name.is_empty())
}

/// The candidates for `name` in a list of directories (`path_open`).
pub fn candidates(list: &[u8], name: &CStr) -> impl Iterator<Item = CString> {
    elements(list).filter_map(move |directory| {
        let length = directory.len() + 1 + name.to_bytes().len();
        if length >= CANDIDATE_BUFFER {
            return None;
        }
        let mut path = Vec::with_capacity(length + 1);
        path.extend_from_slice(directory);
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        CString::new(path).ok()
    })
}

/// Whether a run-time search path depends on where its object is; `None` if it contains a `$` that we (like musl)
/// do not know, which makes the whole of it unusable (`fixup_rpath`).
pub fn mentions_origin(path: &[u8]) -> Option<bool> {
    let mut rest = path;
    let mut found = false;
    while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
        origin_token(&rest[at..])?;
        found = true;
        rest = &rest[at + 1..];
    }
    Some(found)
}

/// Replaces every `$ORIGIN` and `${ORIGIN}`.
pub fn expand_origin(path: &[u8], origin: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(path.len() + origin.len());
    let mut rest = path;
    while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
        expanded.extend_from_slice(&rest[..at]);
        match origin_token(&rest[at..]) {
            Some(length) => {
                expanded.extend_from_slice(origin);
                rest = &rest[at + length..];
            }
            None => {
                expanded.push(b'$');
                rest = &rest[at + 1..];
            }
        }
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// The length of the token at the start of `text` if it stands for the origin.
fn origin_token(text: &[u8]) -> Option<usize> {
    [&b"$ORIGIN"[..], b"${ORIGIN}"].iter().find(|token| text.starts_with(token)).map(|token| token.len())
}

/// The directory part of an object's path: `.` if it has none, empty for the root directory.
pub fn directory_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => &path[..slash],
        None => b".",
    }
}

/// The file name part of a path.
pub fn file_name(path: &CStr) -> &[u8] {
    let bytes = path.to_bytes();
    bytes.rsplit(|&byte| byte == b'/').next().unwrap_or(bytes)
}

/// Where musl, installed as `interpreter`, looks for its path file: beside its own directory (`/lib/ld-musl-x86_64.so.1`
/// looks in `/etc`).
pub fn system_path_file(interpreter: &[u8]) -> CString {
    let prefix = if interpreter.first() == Some(&b'/') {
        let directory = directory_of(interpreter);
        directory.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |slash| &directory[..slash])
    } else {
        b""
    };
    let mut path = prefix.to_vec();
    path.extend_from_slice(b"/etc/ld-musl-x86_64.path");
    // The path was a C string, so that there is no NUL to stumble over.
    CString::new(path).unwrap_or_default()
}

/// Whether a library name means libc itself, whatever follows the first dot (`load_library`).
pub fn is_libc(name: &[u8]) -> bool {
    let stem = name.strip_prefix(b"lib").and_then(|rest| rest.split(|&byte| byte == b'.').next());
    // With the full stop: `libc` alone is not reserved.
    let ends = stem.is_some_and(|stem| stem.len() + b"lib".len() < name.len());
    // No table of names: `start::alone` asks before pointers in tables have been relocated.
    ends && matches!(stem, Some(b"c" | b"pthread" | b"rt" | b"m" | b"dl" | b"util" | b"xnet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &[u8]) -> Vec<CString> {
        candidates(list, c"libx.so").collect()
    }

    #[test]
    fn colons_and_newlines_separate_and_empty_elements_are_skipped() {
        assert_eq!(
            found(b":/a::/b\n\n/c:"),
            [c"/a/libx.so", c"/b/libx.so", c"/c/libx.so"].map(CString::from)
        );
        assert!(found(b"").is_empty());
    }

    #[test]
    fn candidates_that_musl_cannot_hold_are_skipped() {
        let fitting = [b"/".as_slice(), &[b'd'; CANDIDATE_BUFFER - 10]].concat();
        assert_eq!(found(&fitting).len(), 1);
        assert!(found(&[&fitting[..], b"d"].concat()).is_empty());
    }

    #[test]
    fn origin_is_recognised_in_both_forms() {
        assert_eq!(mentions_origin(b"/a:/b"), Some(false));
        assert_eq!(mentions_origin(b"$ORIGIN/../lib:${ORIGIN}"), Some(true));
        assert_eq!(mentions_origin(b"$ORIGIN:$LIB"), None);
        assert_eq!(expand_origin(b"$ORIGIN/x:${ORIGIN}:y", b"/o"), b"/o/x:/o:y");
    }

    #[test]
    fn directories_are_cut_at_the_last_slash() {
        assert_eq!(directory_of(b"/a/b"), b"/a");
        assert_eq!(directory_of(b"/b"), b"");
        assert_eq!(directory_of(b"b"), b".");
    }

    #[test]
    fn the_path_file_is_found_beside_the_directory_of_libc() {
        let file = |path: &[u8]| Some(system_path_file(path).into_bytes());
        assert_eq!(file(b"/lib/ld-musl-x86_64.so.1").as_deref(), Some(&b"/etc/ld-musl-x86_64.path"[..]));
        assert_eq!(file(b"/opt/m/lib/libc.so").as_deref(), Some(&b"/opt/m/etc/ld-musl-x86_64.path"[..]));
        assert_eq!(file(b"libc.so").as_deref(), Some(&b"/etc/ld-musl-x86_64.path"[..]));
    }

    #[test]
    fn libc_goes_by_many_names() {
        for name in
            [&b"libc.so"[..], b"libc.so.6", b"libm.so.6", b"libpthread.so.0", b"libc.musl-x86_64.so.1"]
        {
            assert!(is_libc(name));
        }
        for name in [&b"libcrypt.so"[..], b"libmagic.so", b"libc", b"xlibc.so"] {
            assert!(!is_libc(name));
        }
    }
}
