//! Saying something: lines on a file descriptor, and the sink of the `log` crate.

use alloc::borrow::Cow;
use alloc::ffi::CString;
use core::ffi::CStr;
use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::fd::BorrowedFd;

use super::files::write_all;

/// What begins every line of the loader that is not one of musl's messages.
pub const MESSAGE_PREFIX: &str = "ld-morsel: ";

/// Collects a line, so that it goes out in one system call and lines of several processes do not mix.
struct Line {
    bytes: [u8; 1024],
    length: usize,
    to: BorrowedFd<'static>,
}

impl Line {
    fn flush(&mut self) {
        // Nothing can be done about an unwritable stderr.
        let _ = write_all(self.to, &self.bytes[..self.length]);
        self.length = 0;
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(self.bytes.len()) {
            if chunk.len() > self.bytes.len() - self.length {
                self.flush();
            }
            self.bytes[self.length..][..chunk.len()].copy_from_slice(chunk);
            self.length += chunk.len();
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        raw_bytes(text, |bytes| self.push(bytes));
        Ok(())
    }
}

/// Writes formatted text to a file descriptor (`rustix::stdio::stdout()`, `stderr()`).
#[inline(never)]
pub fn print(to: BorrowedFd<'static>, text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 1024], length: 0, to };
    let _ = line.write_fmt(text);
    line.flush();
}

/// Bytes that are probably text (paths, symbol names), for messages; they need not be UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> From<&'a CString> for Text<'a> {
    fn from(text: &'a CString) -> Self {
        Self(text.to_bytes())
    }
}

impl<'a> From<&'a Cow<'_, CStr>> for Text<'a> {
    fn from(text: &'a Cow<'_, CStr>) -> Self {
        Self(text.to_bytes())
    }
}

impl<'a> From<&'a CStr> for Text<'a> {
    fn from(text: &'a CStr) -> Self {
        Self(text.to_bytes())
    }
}

impl fmt::Display for Text<'_> {
    /// Bytes that are no UTF-8 travel as characters of a private range, which [`raw_bytes`] turns back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            for part in chunk.valid().split_inclusive(is_stand_in) {
                match part.char_indices().next_back().filter(|(_, last)| is_stand_in(*last)) {
                    // The name itself has such a character: let its bytes travel like the others.
                    Some((start, _)) => {
                        f.write_str(&part[..start])?;
                        part.as_bytes()[start..].iter().try_for_each(|&byte| f.write_char(stand_in(byte)))?;
                    }
                    None => f.write_str(part)?,
                }
            }
            chunk.invalid().iter().try_for_each(|&byte| f.write_char(stand_in(byte)))
        })
    }
}

/// The first of 128 private characters that stand for the bytes from 0x80.
const FIRST_STAND_IN: u32 = 0x10_ff80;

fn stand_in(byte: u8) -> char {
    char::from_u32(FIRST_STAND_IN + u32::from(byte & 0x7f)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Whether a character stands for a byte that is no UTF-8 (see [`Text`]).
pub fn is_stand_in(char: char) -> bool {
    (FIRST_STAND_IN..FIRST_STAND_IN + 0x80).contains(&u32::from(char))
}

/// Formatted text as the bytes that it means, in pieces.
pub fn raw_bytes(text: &str, mut write: impl FnMut(&[u8])) {
    for part in text.split_inclusive(is_stand_in) {
        match part.chars().next_back().filter(|&last| is_stand_in(last)) {
            Some(last) => {
                write(&part.as_bytes()[..part.len() - last.len_utf8()]);
                write(&[(u32::from(last) - FIRST_STAND_IN) as u8 | 0x80]);
            }
            None => write(part.as_bytes()),
        }
    }
}

struct StderrLog;

impl Log for StderrLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true // `log` has compared with the maximum level before
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str();
        print(stderr(), format_args!("{MESSAGE_PREFIX}{level:5} {}\n", record.args()));
    }

    fn flush(&self) {}
}

/// Standard output.
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: as for standard error.
    unsafe { rustix::stdio::stdout() }
}

/// Standard error.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: descriptor 2 is used only for writing; if the process was started without it, writing fails.
    unsafe { rustix::stdio::stderr() }
}

/// Switches logging on, up to `level`.
pub fn init_logging(level: LevelFilter) {
    static LOG: StderrLog = StderrLog;
    if level > LevelFilter::Off && log::set_logger(&LOG).is_ok() {
        log::set_max_level(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn any_bytes_come_through() {
        for bytes in
            [&b"plain"[..], b"", b"a\xffb", "\u{10ffc3}x".as_bytes(), b"\xc3", "gr\u{fc}n".as_bytes()]
        {
            let mut out = Vec::new();
            raw_bytes(&Text(bytes).to_string(), |piece| out.extend_from_slice(piece));
            assert_eq!(out, bytes);
        }
    }
}
