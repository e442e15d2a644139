//! What the loader tells a learner (`LD_MORSEL_LEARN`, `morselctl learn`) when a program has no image that may be used: one
//! datagram, which is only ever a request to build one.

use alloc::vec::Vec;
use core::ffi::CStr;

use crate::sys::FileIdentity;

use super::encoding::{Reader, Writer};

/// How a request begins.
const MAGIC: u64 = u64::from_le_bytes(*b"MORSELRQ");
/// The version of the format.
const VERSION: u32 = 1;
/// Bytes of the longest request. What does not fit is not asked for.
pub const LONGEST: usize = 16 << 10;

/// A request to build the image of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The program's path.
    pub program: &'a CStr,
    /// The file that was there when it started.
    pub identity: FileIdentity,
    /// `LD_LIBRARY_PATH`
    pub library_path: Option<&'a CStr>,
    /// `LD_PRELOAD`
    pub preload: Option<&'a CStr>,
    /// `LD_MORSEL_LIBC`
    pub libc: Option<&'a CStr>,
}

impl<'a> Request<'a> {
    /// The datagram; `None` if it would be too long.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut to = Writer::default();
        to.word(MAGIC);
        to.half(VERSION);
        to.text(Some(self.program));
        to.words(&[self.identity.device, self.identity.inode]);
        [self.library_path, self.preload, self.libc].into_iter().for_each(|text| to.text(text));
        Some(to.finish()).filter(|bytes| bytes.len() <= LONGEST)
    }

    /// Reads a datagram; `None` if it is anything else than a request.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        if bytes.len() > LONGEST || from.word()? != MAGIC || from.half()? != VERSION {
            return None;
        }
        Some(Self {
            program: from.text()??,
            identity: FileIdentity { device: from.word()?, inode: from.word()? },
            library_path: from.text()?,
            preload: from.text()?,
            libc: from.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: Request<'static> = Request {
        program: c"/bin/prog",
        identity: FileIdentity { device: 1, inode: 2 },
        library_path: Some(c"/a:/b"),
        preload: None,
        libc: Some(c""),
    };

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let bytes = REQUEST.to_bytes().expect("it is short");
        assert_eq!(Request::parse(&bytes), Some(REQUEST));
        assert!((0..bytes.len() - 8).all(|length| Request::parse(&bytes[..length]).is_none()));
    }

    #[test]
    fn what_is_too_long_is_neither_written_nor_read() {
        let long = alloc::ffi::CString::new([b'x'; LONGEST]).expect("no NUL");
        assert_eq!(Request { preload: Some(&long), ..REQUEST }.to_bytes(), None);
        let mut bytes = REQUEST.to_bytes().expect("it is short");
        bytes.resize(LONGEST + 1, 0);
        assert_eq!(Request::parse(&bytes), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(start in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut datagram = REQUEST.to_bytes().filter(|_| start).unwrap_or_default();
            datagram.truncate(12);
            datagram.extend(bytes);
            Request::parse(&datagram);
        }
    }
}
