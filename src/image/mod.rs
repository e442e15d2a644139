//! Images: libraries as they are after loading, in one file (`docs/images.md`). `morselctl build` writes them; at start the
//! loader checks whether the program's image still tells the truth ([`check`]) and maps it ([`attach`]). What comes after that
//! is the same with an image as without one.

pub mod attach;
pub mod check;
mod details;
pub mod encoding;
pub mod format;
pub mod join;
mod mapped;
pub mod portable;
mod records;
pub mod references;
pub mod request;
pub mod stamp;
#[cfg(test)]
mod tests;

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::sys::FileIdentity;

pub use attach::{Attached, Candidate, Circumstances, open};
pub use check::Refusal;

/// The directory of the images that serve everybody.
pub const SYSTEM_PLACE: &CStr = c"/var/cache/ld-morsel";

/// The images' bases are multiples of so many bytes: what can be had by one entry of a page directory.
pub const BASE_ALIGN: u64 = 2 << 20;

/// An address for an image, chosen by a random number: below it and above it there is room for all else. The kernel puts
/// programs, libraries and stacks elsewhere.
pub fn base_at(random: u64) -> u64 {
    const LOWEST: u64 = 0x1000_0000_0000;
    const HIGHEST: u64 = 0x5000_0000_0000;
    LOWEST + random % ((HIGHEST - LOWEST) / BASE_ALIGN) * BASE_ALIGN
}

/// The name of a program's image in its directory: two numbers. Every start asks for it, and formatting them the usual way would touch
/// pages that nobody else needs.
pub fn file_name(program: FileIdentity) -> String {
    let mut name = String::with_capacity(2 * u64::BITS as usize / 4 + 1);
    push_hexadecimal(&mut name, program.device);
    name.push('-');
    push_hexadecimal(&mut name, program.inode);
    name
}

fn push_hexadecimal(text: &mut String, number: u64) {
    let digits = (u64::BITS - (number | 1).leading_zeros()).div_ceil(4);
    let digit = |place: u32| b"0123456789abcdef"[(number >> (4 * place) & 0xf) as usize];
    text.extend((0..digits).rev().map(|place| char::from(digit(place))));
}

/// The name of a program's portable image in its directory: the program's path, with `%2F` for `/` and `%25` for `%`.
pub fn portable_name(program: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(2 * program.len());
    for &byte in program {
        match byte {
            b'/' => name.extend_from_slice(b"%2F"),
            b'%' => name.extend_from_slice(b"%25"),
            other => name.push(other),
        }
    }
    name
}

/// A file in a directory.
fn path_in(directory: &[u8], name: &[u8]) -> Option<CString> {
    let mut path = directory.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    CString::new(path).ok()
}
