//! Saying something: lines on a file descriptor, and the sink of the `log` crate.

use alloc::ffi::CString;
use core::ffi::CStr;
use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::fd::BorrowedFd;

use super::calls::write_all;

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

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for chunk in text.as_bytes().chunks(self.bytes.len()) {
            if chunk.len() > self.bytes.len() - self.length {
                self.flush();
            }
            self.bytes[self.length..][..chunk.len()].copy_from_slice(chunk);
            self.length += chunk.len();
        }
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

/// Bytes that are probably text (paths, symbol names), for messages; what is no UTF-8 is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> From<&'a CString> for Text<'a> {
    fn from(text: &'a CString) -> Self {
        Self(text.to_bytes())
    }
}

impl<'a> From<&'a CStr> for Text<'a> {
    fn from(text: &'a CStr) -> Self {
        Self(text.to_bytes())
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            if chunk.invalid().is_empty() { Ok(()) } else { f.write_str("\u{fffd}") }
        })
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
