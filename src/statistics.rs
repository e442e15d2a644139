//! `LD_MORSEL_STATS`: what a start did, as one JSON object. Where it is not asked for, it costs a test of a flag per
//! phase.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt::{self, Write};

use crate::map::Piecewise;
use crate::program::{Origin, Program};
use crate::relocate::Counts;
use crate::sys::{self, Text};

/// A stop-watch for the phases of a start.
#[derive(Debug)]
pub struct Phases {
    /// When the last phase ended; `None` if nobody wants to know.
    last: Option<u64>,
    finished: Vec<(&'static str, u64)>,
}

impl Phases {
    /// Starts the watch.
    pub fn new(wanted: bool) -> Self {
        Self { last: wanted.then(sys::clock_nanoseconds), finished: Vec::new() }
    }

    /// Ends a phase.
    pub fn end(&mut self, phase: &'static str) {
        if let Some(last) = self.last {
            let now = sys::clock_nanoseconds();
            self.finished.push((phase, now - last));
            self.last = Some(now);
        }
    }
}

/// The image that a start has used.
#[derive(Debug)]
pub struct UsedImage {
    /// Where it is.
    pub path: CString,
    /// It is not at its own base.
    pub moved: bool,
    /// How many relocations it has left to the process.
    pub late: usize,
    /// How many objects the process has beside the image.
    pub added: usize,
    /// How many relocations have been bound anew because of them.
    pub rebound: usize,
}

/// Writes the object to `target`, a path, or `-` for standard error. A path that cannot be written is worth a warning,
/// not a failure.
pub fn write(
    target: &CStr,
    program: &Program,
    image: Option<&UsedImage>,
    pieces: &[Piecewise],
    counts: &Counts,
    phases: &Phases,
) {
    let mut json = String::new();
    // Writing to a string cannot fail.
    let _ = render(&mut json, program, image, pieces, counts, phases);
    let result = if target == c"-" {
        sys::write_all(sys::stderr(), json.as_bytes())
    } else {
        sys::write_new_file(target, json.as_bytes())
    };
    if let Err(errno) = result {
        let (target, cause) = (Text::from(target), sys::errno_text(errno));
        let line = format_args!("{}LD_MORSEL_STATS={target}: {cause}\n", sys::MESSAGE_PREFIX);
        sys::print(sys::stderr(), line);
    }
}

fn render(
    json: &mut String,
    program: &Program,
    image: Option<&UsedImage>,
    pieces: &[Piecewise],
    counts: &Counts,
    phases: &Phases,
) -> fmt::Result {
    write!(json, "{{\"loader\":\"ld-morsel {}\",\"objects\":[", env!("CARGO_PKG_VERSION"))?;
    for (id, object) in program.iter() {
        let separator = if id.0 > 0 { "," } else { "" };
        let pages = &object.mapping.pages;
        write!(json, "{separator}{{\"name\":{},", Quoted(&object.name))?;
        write!(json, "\"origin\":\"{}\",\"backend\":\"{}\",", origin(object.origin), object.mapping.backend)?;
        write!(json, "\"address\":{},\"bytes\":{},", pages.start.0, pages.end.0 - pages.start.0)?;
        match object.tls {
            Some(tls) => {
                let offset = tls.offset.unwrap_or(0);
                write!(json, "\"tls\":{{\"module\":{},\"offset\":{offset}}}}}", tls.module)?;
            }
            None => json.push_str("\"tls\":null}"),
        }
    }
    json.push_str("],\"pieces\":[");
    for (index, region) in pieces.iter().enumerate() {
        let separator = if index > 0 { "," } else { "" };
        let (start, end) = (region.pages.start.0, region.pages.end.0);
        write!(
            json,
            "{separator}{{\"address\":{start},\"bytes\":{},\"state\":\"{}\"}}",
            end - start,
            region.state
        )?;
    }
    json.push_str("],");
    match image {
        Some(UsedImage { path, moved, late, added, rebound }) => {
            let path = Quoted(path);
            write!(json, "\"image\":{{\"path\":{path},\"moved\":{moved},\"late_relocations\":{late},")?;
            write!(json, "\"added_objects\":{added},\"rebound_relocations\":{rebound}}},")?;
        }
        None => json.push_str("\"image\":null,"),
    }
    json.push_str("\"relocations\":{");
    for (index, (kind, count)) in counts.named().enumerate() {
        let separator = if index > 0 { "," } else { "" };
        write!(json, "{separator}\"{kind}\":{count}")?;
    }
    write!(json, "}},\"lookups\":{},\"system_calls\":{},", counts.lookups, sys::system_call_count())?;
    json.push_str("\"phases_ns\":{");
    for (index, (phase, nanoseconds)) in phases.finished.iter().enumerate() {
        let separator = if index > 0 { "," } else { "" };
        write!(json, "{separator}\"{phase}\":{nanoseconds}")?;
    }
    json.push_str("}}\n");
    Ok(())
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Kernel => "kernel",
        Origin::File => "file",
        Origin::Libc => "libc",
        Origin::Loader => "loader",
        Origin::Vdso => "vdso",
    }
}

/// A JSON string (RFC 8259, section 7).
struct Quoted<'a>(&'a CStr);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|char| match char {
                    '"' | '\\' => write!(self.0, "\\{char}"),
                    _ if sys::is_stand_in(char) => self.0.write_char(char::REPLACEMENT_CHARACTER),
                    '\0'..='\x1f' => write!(self.0, "\\u{:04x}", char as u32),
                    _ => self.0.write_char(char),
                })
            }
        }
        f.write_char('"')?;
        write!(Escape(f), "{}", Text::from(self.0))?;
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_are_quoted_for_json() {
        assert_eq!(Quoted(c"a\"b\\c\n").to_string(), r#""a\"b\\c\u000a""#);
    }
}
