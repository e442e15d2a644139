//! The rules that decide whether an image may be used. Each has its own [`Refusal`], and a test that breaks it.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;
use core::fmt;

use goblin::elf64::program_header::{PT_NOTE, ProgramHeader, SIZEOF_PHDR};

use crate::discover::search;
use crate::elf::notes;
use crate::sys::{self, Directory, Errno, FileStamp, FileStatus, Text, errno_text};

use super::format::{BuildId, Input, Key, ProgramEntry, Tables, VERSION, checksum};

/// Why an image is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The system refused something.
    System(&'static str, Errno),
    /// It is no image, or is cut off or damaged; what is wrong.
    Damaged(&'static str),
    /// It has another format.
    Version(u32),
    /// The process does not know its program's file or its loader's build ID.
    Unknown,
    /// It is for another build of the loader.
    OtherLoader,
    /// It is for other programs.
    OtherProgram,
    /// Its place is taken.
    Taken,
    /// It belongs to somebody else.
    Owner(u32),
    /// Others may write to it, or to its directory.
    Writable(&'static str),
    /// It has been built under other circumstances: what is different.
    Key(&'static str),
    /// The process has objects that the image does not know, and cannot have them beside it: why not.
    Added(&'static str),
    /// Debuggers would not find its libraries, whose parts have been moved apart, and one is there.
    Debugger,
    /// A file is not the one that it was.
    Changed(CString),
    /// A file that was not there would be found now.
    Appeared(CString),
    /// A file is not the one for which the stamp of a portable image vouches.
    Stale(CString),
    /// A file has been changed so recently that its times tell nothing.
    Unsettled(CString),
    /// The stamp of a portable image is missing or does not hold any more, and there cannot be a new one.
    Unstamped(CString, Errno),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(what, errno) => write!(f, "{what}: {}", errno_text(*errno)),
            Self::Damaged(what) => write!(f, "damaged: {what}"),
            Self::Version(version) => write!(f, "format version {version}, not {VERSION}"),
            Self::Unknown => f.write_str("it is not known which file the program is"),
            Self::OtherLoader => f.write_str("made for another build of ld-morsel"),
            Self::OtherProgram => f.write_str("made for other programs"),
            Self::Taken => f.write_str("there is no room for it"),
            Self::Owner(owner) => write!(f, "it belongs to user {owner}"),
            Self::Writable(what) => write!(f, "others may write to {what}"),
            Self::Key(what) => write!(f, "made for other circumstances: {what}"),
            Self::Added(why) => write!(f, "LD_PRELOAD: {why}"),
            Self::Debugger => f.write_str(
                "a debugger is there, which would not find libraries whose parts were moved (concatenate)",
            ),
            Self::Changed(path) | Self::Stale(path) => write!(f, "{} has changed", Text::from(path)),
            Self::Appeared(path) => write!(f, "{} was not there when it was built", Text::from(path)),
            Self::Unsettled(path) => write!(f, "{} has been changed just now", Text::from(path)),
            Self::Unstamped(path, errno) => {
                let (path, cause) = (Text::from(path), errno_text(*errno));
                write!(
                    f,
                    "no stamp says that its files are the right ones, and {path} cannot be written: {cause}"
                )
            }
        }
    }
}

/// Tables that are what the builder wrote, and yet wrong.
pub const NO_SENSE: Refusal = Refusal::Damaged("tables that make no sense");

/// The image, and its directory, belong to root or to the effective user (in secure-execution mode to root), and nobody else
/// can write there.
///
/// # Errors
/// One is not so.
pub fn ownership(file: &FileStatus, directory: &FileStatus, user: u32, secure: bool) -> Result<(), Refusal> {
    owner(file, "it", user, secure)?;
    owner(directory, "its directory", user, secure)
}

/// The same for one of them, called `what`.
///
/// # Errors
/// It is not so.
pub fn owner(status: &FileStatus, what: &'static str, user: u32, secure: bool) -> Result<(), Refusal> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    if status.owner != 0 && (secure || status.owner != user) {
        return Err(Refusal::Owner(status.owner));
    }
    match status.mode & WRITABLE_BY_OTHERS {
        0 => Ok(()),
        _ => Err(Refusal::Writable(what)),
    }
}

/// The tables are whole, as far as their outline goes.
///
/// # Errors
/// They are not, or do not belong to this entry.
pub fn outline<'a>(entry: &ProgramEntry, bytes: &'a [u8]) -> Result<Box<Tables<'a>>, Refusal> {
    if checksum(&[bytes]) != entry.checksum {
        return Err(Refusal::Damaged("wrong checksum"));
    }
    Tables::outline(bytes).ok_or(NO_SENSE)
}

/// The tables are whole.
///
/// # Errors
/// They are not, or do not belong to this entry.
pub fn tables<'a>(entry: &ProgramEntry, bytes: &'a [u8]) -> Result<Box<Tables<'a>>, Refusal> {
    outline(entry, bytes).and_then(|tables| if tables.is_whole() { Ok(tables) } else { Err(NO_SENSE) })
}

/// Whether the process preloads other libraries than the image has been built for.
///
/// # Errors
/// It does, and the image must not be used then.
pub fn preloads_others(tables: &Tables<'_>, now: Option<&CStr>) -> Result<bool, Refusal> {
    if search::preloads(tables.key.preload).eq(search::preloads(now)) {
        return Ok(false);
    }
    if tables.index.is_none() || search::preloads(now).next().is_none() {
        return Err(Refusal::Key("LD_PRELOAD"));
    }
    Ok(true)
}

/// Apart from preloaded libraries, the search would go the same way as when the image was built.
///
/// # Errors
/// What is different.
pub fn key(recorded: &Key<'_>, now: &Key<'_>, secure: bool) -> Result<(), Refusal> {
    let same = [
        (recorded.library_path == now.library_path, "LD_LIBRARY_PATH"),
        (recorded.libc == now.libc, "LD_MORSEL_LIBC"),
        (recorded.program == now.program, "the program's file"),
        (recorded.fingerprint == now.fingerprint, "the program in memory"),
        // A privileged program's $ORIGIN is not used.
        (!secure || recorded.origin.is_none(), "secure-execution mode"),
    ];
    if let Some((_, what)) = same.iter().find(|(same, _)| !same) {
        return Err(Refusal::Key(what));
    }
    Ok(())
}

/// The search finds the directory of the program (`$ORIGIN`) where it was, if it asks for that. `called` is the path by which the
/// kernel has found the program, `file` what is there.
///
/// # Errors
/// It is another one.
pub fn origin(recorded: &Key<'_>, called: Option<&CStr>, file: FileStamp) -> Result<(), Refusal> {
    let Some(origin) = recorded.origin else { return Ok(()) };
    // What `/proc` would say is known if no symbolic link was followed at the path's end. (Elsewhere on the way, one leads to the same
    // libraries.) To ask it takes as long as to look at thirty files.
    let is_itself = || sys::link_status(origin).is_ok_and(|status| status.stamp == file);
    if called == Some(origin) && is_itself() {
        return Ok(());
    }
    let mut buffer = [0; search::CANDIDATE_BUFFER];
    match sys::read_link(c"/proc/self/exe", &mut buffer) {
        Ok(path) if path == origin.to_bytes() => Ok(()),
        Ok(_) => Err(Refusal::Key("the program's path ($ORIGIN)")),
        Err(errno) => Err(Refusal::System("/proc/self/exe", errno)),
    }
}

/// What was there is there, unchanged; what was missing is missing.
///
/// # Errors
/// The first file for which it is not so.
pub fn inputs<'a>(inputs: impl IntoIterator<Item = Input<'a>>) -> Result<(), Refusal> {
    let mut directory = Neighbours::default();
    for input in inputs {
        match (directory.file_status(&input), input.stamp) {
            (Ok(status), Some(stamp)) if status.stamp == stamp => {}
            (Err(errno), None) if is_missing(errno) => {}
            (_, Some(_)) => return Err(Refusal::Changed(CString::from(input.path))),
            (_, None) => return Err(Refusal::Appeared(CString::from(input.path))),
        }
    }
    Ok(())
}

/// A directory where many files are looked at, one after the other.
#[derive(Default)]
struct Neighbours<'a> {
    /// Its path, with the slash at the end.
    path: &'a [u8],
    /// What cannot be opened may be looked at all the same.
    directory: Option<Directory>,
}

impl<'a> Neighbours<'a> {
    /// What there is to know of the file that a path leads to.
    fn file_status(&mut self, input: &Input<'a>) -> Result<FileStatus, Errno> {
        let path = input.path.to_bytes_with_nul();
        let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (parent, name) = path.split_at(name);
        if input.has_neighbours {
            self.path = parent;
            self.directory = directory_of(input.path).and_then(|directory| Directory::open(&directory).ok());
        }
        match (&self.directory, CStr::from_bytes_with_nul(name)) {
            (Some(directory), Ok(name)) if parent == self.path && !name.is_empty() => {
                directory.file_status(name)
            }
            _ => sys::file_status(input.path),
        }
    }
}

/// Marks those behind which there are so many in the same directory that it is worthwhile to open that: to open and to close it takes as
/// long as it saves for eight files.
pub fn mark_neighbours(inputs: &mut [Input<'_>]) {
    const WORTHWHILE: usize = 10;
    let directory = |input: &Input<'_>| directory_of(input.path);
    for neighbours in inputs.chunk_by_mut(|a, b| directory(a) == directory(b)) {
        neighbours[0].has_neighbours = neighbours.len() >= WORTHWHILE;
    }
}

/// The GNU build ID of an object with these program headers; `content` has the bytes of its segments.
pub fn build_id<'a>(
    header_table: &[u8],
    content: impl Fn(&ProgramHeader) -> Option<&'a [u8]>,
) -> Option<BuildId> {
    const OWNER: &[u8] = b"GNU\0";
    const NT_GNU_BUILD_ID: u32 = 3;
    let mut notes = note_segments(header_table, content).flat_map(notes);
    let note = notes.find(|note| (note.owner, note.kind) == (OWNER, NT_GNU_BUILD_ID))?;
    note.descriptor.try_into().ok()
}

/// What tells a program in memory from others: a checksum of its program headers and notes, its build ID among them. Its path may
/// lead to another file by now.
pub fn fingerprint<'a>(header_table: &[u8], content: impl Fn(&ProgramHeader) -> Option<&'a [u8]>) -> u64 {
    let sum = checksum(&[header_table]);
    note_segments(header_table, content).fold(sum, |sum, notes| checksum(&[&sum.to_le_bytes(), notes]))
}

fn note_segments<'a>(
    header_table: &[u8],
    content: impl Fn(&ProgramHeader) -> Option<&'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let headers = header_table.chunks_exact(SIZEOF_PHDR).filter_map(|bytes| {
        let mut header = ProgramHeader::default();
        plain::copy_from_bytes(&mut header, bytes).ok().map(|()| header)
    });
    headers.filter(|header| header.p_type == PT_NOTE).filter_map(move |header| content(&header))
}

/// Whether the search goes on to the next directory.
fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NAMETOOLONG)
}

/// The directory of a file, as a path.
pub fn directory_of(path: &CStr) -> Option<CString> {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&byte| byte == b'/')?;
    CString::new(&bytes[..=end]).ok()
}
