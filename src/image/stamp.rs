//! The stamp of a portable image: a small file beside it that says which files have been found to be its inputs, by their contents,
//! on this machine or in this container. While they are the same files, their contents need not be read again.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::sys::FileStamp;

use super::encoding::{List, Reader, Record, Writer, checksum};

/// What the name of an image's stamp ends in.
pub const SUFFIX: &str = ".stamp";
/// Bytes of the largest stamp that is read: for some ten thousand files.
pub const LARGEST: usize = 1 << 20;
/// How a stamp begins.
const MAGIC: u64 = u64::from_le_bytes(*b"MORSELST");
/// The version of the format.
const VERSION: u32 = 1;

/// SHA-256 of a file's contents.
pub type Digest = [u8; 32];

impl<'a> Record<'a> for Digest {
    fn write(&self, to: &mut Writer) {
        self.iter().for_each(|&byte| to.byte(byte));
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let mut digest = Self::default();
        for byte in &mut digest {
            *byte = from.byte()?;
        }
        Some(digest)
    }
}

/// A file that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// Its state then.
    pub stamp: FileStamp,
    /// Whether its contents were what the image has been built of. If not, that is known without reading it once more.
    pub genuine: bool,
}

impl<'a> Record<'a> for Stamped {
    fn write(&self, to: &mut Writer) {
        self.stamp.write(to);
        to.presence(self.genuine);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self { stamp: FileStamp::read(from)?, genuine: from.presence()? })
    }
}

/// The bytes of a stamp: `files` are the program and all inputs that must be there, in the order of the tables whose checksum
/// is `tables`.
pub fn to_bytes(tables: u64, files: &[Stamped]) -> Vec<u8> {
    let mut to = Writer::default();
    to.word(MAGIC);
    to.half(VERSION);
    to.word(tables);
    to.list(&List::Values(files));
    let mut bytes = to.finish();
    bytes.extend(checksum(&[&bytes]).to_le_bytes());
    bytes
}

/// Reads a stamp; `None` if it is damaged, or belongs to other tables.
pub fn parse(bytes: &[u8], tables: u64) -> Option<Vec<Stamped>> {
    let (content, sum) = bytes.split_last_chunk()?;
    let mut from = Reader::new(content);
    let whole = checksum(&[content]) == u64::from_le_bytes(*sum);
    let own = from.word()? == MAGIC && from.half()? == VERSION && from.word()? == tables;
    if whole && own { from.list().map(|files| files.iter().collect()) } else { None }
}

/// Where the stamp of an image is.
pub fn path_of(image: &CStr) -> Option<CString> {
    CString::new([image.to_bytes(), SUFFIX.as_bytes()].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::FileIdentity;
    use proptest::prelude::*;

    fn files() -> [Stamped; 2] {
        let stamp =
            FileStamp { identity: FileIdentity { device: 1, inode: 2 }, size: 3, modified: 4, changed: 5 };
        [true, false].map(|genuine| Stamped { stamp, genuine })
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let bytes = to_bytes(7, &files());
        assert_eq!(parse(&bytes, 7).as_deref(), Some(&files()[..]));
        assert_eq!(parse(&bytes, 8), None);
        assert!((0..bytes.len()).all(|length| parse(&bytes[..length], 7).is_none()));
    }

    proptest! {
        #[test]
        fn a_changed_stamp_is_not_read(at in 0..usize::MAX, bit in 0..8_u32) {
            let mut bytes = to_bytes(7, &files());
            let at = at % bytes.len();
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(parse(&bytes, 7), None);
        }

        #[test]
        fn anything_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes, 7);
        }
    }
}
