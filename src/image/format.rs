//! The format of an image, plain data that the loader reads and `morselctl build` writes.
//!
//! An image is an ELF file for one program or several. Its *first window* is mapped byte for byte at [`Header::base`]: the first
//! page with the ELF header and, behind it, the image's own; then members; then each program's tables. Libraries
//! whose segments are far apart (`linker-scripts/`) have further parts in *far windows*, so that what is read-only after
//! relocation lies together there, and what is writable. All pages are as they are after relocation. What is not
//! loaded stands at the end.
//!
//! The tables follow each other in the order of [`Tables`], each with its size in front.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::Range;

use bitflags::bitflags;

use crate::sys::{FileIdentity, MemoryFlags};

pub use super::details::Details;
pub use super::encoding::{List, Numbers, Reader, Record, Writer, checksum};
pub use super::records::{Binding, Input, Interposed, Key, LateRelocation, Member, Rewritten, Role};
pub use super::stamp::Digest;

/// How an image's header begins.
pub const MAGIC: [u8; 8] = *b"MORSELIM";
/// The version of the format.
pub const VERSION: u32 = 9;
/// Where the header is in the file: behind the ELF header.
pub const HEADER_AT: usize = crate::elf::FileHeader::SIZE;
/// Bytes of the header and of what follows it on the first page.
pub const HEADER_ROOM: usize = crate::elf::PAGE_SIZE as usize - HEADER_AT;
/// The most programs that one image can serve.
pub const MAX_PROGRAMS: usize = (HEADER_ROOM - Header::SIZE) / ProgramEntry::SIZE;

/// A GNU build ID of the usual kind (SHA-1).
pub type BuildId = [u8; 20];

bitflags! {
    /// What `morselctl record` wants of starts with its copy of an image.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Watch: u64 {
        /// When `main` begins, the process sends itself a signal that says nothing to those that are not traced.
        const MAIN = 1;
        /// Only pages that are touched come into the page cache.
        const PAGES = 2;
    }
}

/// An image's header. [`ProgramEntry`]s follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`VERSION`]
    pub version: u32,
    /// The loader that the image has been made for.
    pub loader: BuildId,
    /// The address for which the image's pages have been relocated.
    pub base: u64,
    /// Bytes of the first window: of address space, and of the file up to there.
    pub window: u64,
    /// How many programs it serves.
    pub programs: u64,
    /// Who is watching.
    pub watch: Watch,
    /// Of the rest of the header, and of the program entries.
    pub checksum: u64,
}

impl Header {
    /// Bytes of it.
    pub const SIZE: usize = 72;

    /// The bytes of a header and the entries that belong to it, for the file. The checksum is made here.
    pub fn to_bytes(mut self, entries: &[ProgramEntry]) -> Vec<u8> {
        let mut rest = Writer::default();
        entries.iter().for_each(|entry| entry.write(&mut rest));
        let rest = rest.finish();
        self.checksum = self.expected_checksum(&rest);
        let mut bytes = self.own_bytes();
        bytes.extend(rest);
        bytes
    }

    fn own_bytes(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.word(u64::from_le_bytes(MAGIC));
        to.half(self.version);
        self.loader.iter().for_each(|&byte| to.byte(byte));
        to.words(&[self.base, self.window, self.programs, self.watch.bits(), self.checksum]);
        to.finish()
    }

    /// Reads it from the bytes of a file at [`HEADER_AT`]; `None` if there is no such header.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes.get(..Self::SIZE)?);
        if from.word()? != u64::from_le_bytes(MAGIC) {
            return None;
        }
        let version = from.half()?;
        let mut loader = BuildId::default();
        for byte in &mut loader {
            *byte = from.byte()?;
        }
        let [base, window, programs] = [from.word()?, from.word()?, from.word()?];
        let watch = Watch::from_bits_retain(from.word()?);
        Some(Self { version, loader, base, window, programs, watch, checksum: from.word()? })
    }

    /// The entries that follow it; `None` if they, or the header, are damaged.
    pub fn entries<'a>(&self, bytes: &'a [u8]) -> Option<impl Iterator<Item = ProgramEntry> + 'a> {
        let count = usize::try_from(self.programs).ok().filter(|&count| count <= MAX_PROGRAMS)?;
        let entries = bytes.get(Self::SIZE..Self::SIZE + count * ProgramEntry::SIZE)?;
        let sound = self.expected_checksum(entries) == self.checksum;
        let chunks = entries.chunks_exact(ProgramEntry::SIZE);
        sound.then(|| chunks.filter_map(|entry| ProgramEntry::read(&mut Reader::new(entry))))
    }

    fn expected_checksum(&self, entries: &[u8]) -> u64 {
        checksum(&[&self.own_bytes()[..Self::SIZE - size_of::<u64>()], entries])
    }
}

/// Where a program's tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramEntry {
    /// The program's file; in a portable image, see [`super::portable::identity`].
    pub program: FileIdentity,
    /// Where its tables begin in the first window, a multiple of a page.
    pub tables: u64,
    /// Bytes of the tables.
    pub size: u64,
    /// Of the tables.
    pub checksum: u64,
}

impl ProgramEntry {
    /// Bytes of it.
    pub const SIZE: usize = 40;
}

impl<'a> Record<'a> for ProgramEntry {
    fn write(&self, to: &mut Writer) {
        to.words(&[self.program.device, self.program.inode, self.tables, self.size, self.checksum]);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let program = FileIdentity { device: from.word()?, inode: from.word()? };
        Some(Self { program, tables: from.word()?, size: from.word()?, checksum: from.word()? })
    }
}

/// The names of the tables.
pub const TABLE_NAMES: [&str; 15] = [
    "key",
    "inputs",
    "members",
    "initialisation",
    "windows",
    "regions",
    "sealed",
    "huge",
    "late",
    "interposed",
    "rewritten",
    "index",
    "digests",
    "populate",
    "rebase",
];

/// All tables of a program.
#[derive(Debug)]
pub struct Tables<'a> {
    /// Under which circumstances the image has been built.
    pub key: Key<'a>,
    /// The files that it depends on.
    pub inputs: List<'a, Input<'a>>,
    /// The objects of the process, in load order.
    pub members: List<'a, Member<'a>>,
    /// Whether a member's parts have been moved apart.
    pub parts_moved: bool,
    /// The members that have something to be run when they are initialised or finalised, in this order.
    pub initialisation: Numbers<'a>,
    /// What is mapped beside the first window.
    pub windows: List<'a, FarWindow>,
    /// The pages that are different from the rest of their window, in this order.
    pub regions: List<'a, Region>,
    /// Pages that are relocated and sealed already: writable only while an image that was moved is changed.
    pub sealed: List<'a, Pages>,
    /// Pages that the kernel shall map by huge pages.
    pub huge: List<'a, Pages>,
    /// The relocations that the process must carry out itself.
    pub late: List<'a, LateRelocation>,
    /// What libc must bind to instead of its own definitions.
    pub interposed: List<'a, Interposed<'a>>,
    /// Where the list of [`Rewritten`] libraries is, if there are any. Only who interposes needs it.
    pub rewritten: Option<Aside>,
    /// Where [`References`](super::references) are; `None` if the process can have no further objects.
    pub index: Option<WindowPart>,
    /// What is in the program and in all inputs that must be there, if the image is portable; else nothing.
    pub digests: List<'a, Digest>,
    /// Pages that starts touch, close together: they are mapped at once.
    pub populate: List<'a, Populate>,
    /// The words that hold addresses of the image, in the form of `DT_RELR`, counted from the image's start.
    pub rebase: &'a [u64],
}

impl<'a> Tables<'a> {
    /// Their bytes, each with its size in front.
    pub fn to_bytes(&self) -> [Vec<u8>; TABLE_NAMES.len()] {
        fn table(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
            let mut to = Writer::default();
            write(&mut to);
            let mut whole = Writer::default();
            whole.bytes(&to.finish());
            whole.finish()
        }
        [
            table(|to| self.key.write(to)),
            table(|to| to.list(&self.inputs)),
            table(|to| {
                to.presence(self.parts_moved);
                to.align();
                to.list(&self.members);
            }),
            table(|to| to.bytes(self.initialisation.bytes())),
            table(|to| to.list(&self.windows)),
            table(|to| to.list(&self.regions)),
            table(|to| to.list(&self.sealed)),
            table(|to| to.list(&self.huge)),
            table(|to| to.list(&self.late)),
            table(|to| to.list(&self.interposed)),
            table(|to| to.list(&List::Values(self.rewritten.as_slice()))),
            table(|to| to.list(&List::Values(self.index.as_slice()))),
            table(|to| to.list(&self.digests)),
            table(|to| to.list(&self.populate)),
            table(|to| self.rebase.iter().for_each(|&word| to.word(word))),
        ]
    }

    /// The path of the program that they are for.
    pub fn program_path(&self) -> &'a CStr {
        let program = self.members.iter().find(|member| member.role == Role::Program);
        program.map_or(c"", |program| program.name)
    }

    /// Reads them; `None` if they are damaged. `bytes` begin at a multiple of a word.
    pub fn parse(bytes: &'a [u8]) -> Option<Box<Self>> {
        Self::outline(bytes).filter(|tables| tables.is_whole())
    }

    /// The same, but for whether inputs and members are sound, of which there are many: to be seen when they are read.
    pub fn outline(bytes: &'a [u8]) -> Option<Box<Self>> {
        let mut tables = Reader::new(bytes);
        let mut next = || tables.bytes().map(Reader::new);
        let key = Key::read(&mut next()?)?;
        let inputs = next()?.unchecked_list()?;
        let mut with_members = next()?;
        let parts_moved = with_members.presence()?;
        with_members.align()?;
        let members: List<'a, Member<'a>> = with_members.unchecked_list()?;
        let known = |object: u32| (object as usize) < members.len();
        let initialisation = Numbers::of(next()?.bytes()?);
        initialisation.iter().all(known).then_some(())?;
        let bound = |binding: &Binding| known(binding.object);
        let (windows, regions) = (next()?.list()?, next()?.list()?);
        let (sealed, huge) = (next()?.list()?, next()?.list()?);
        let is_sound = |late: &LateRelocation| known(late.object) && late.binding.as_ref().is_none_or(bound);
        let late = next()?.list_of(is_sound)?;
        let interposed = next()?.list_of(|entry: &Interposed<'_>| bound(&entry.binding))?;
        let rewritten = next()?.list()?.iter().next();
        let index = next()?.list()?.iter().next();
        let digests: List<'a, Digest> = next()?.list()?;
        let populate = next()?.list()?;
        let rebase = plain::slice_from_bytes(tables.bytes()?).ok()?;
        Some(Box::new(Self {
            key,
            inputs,
            members,
            parts_moved,
            initialisation,
            windows,
            regions,
            sealed,
            huge,
            late,
            interposed,
            rewritten,
            index,
            digests,
            populate,
            rebase,
        }))
    }

    /// Whether inputs and members are sound.
    pub fn is_whole(&self) -> bool {
        let (mut present, members) = (0, self.members.len());
        let inputs = self.inputs.checked().all(|input| {
            present += usize::from(input.is_some_and(|input| input.stamp.is_some()));
            input.is_some()
        });
        let digests = self.digests.len();
        inputs
            && (digests == 0 || digests == 1 + present)
            && self.members.checked().all(|member| member.is_some_and(|member| member.knows_only(members)))
    }
}

/// Whole pages, in bytes from the image's start.
pub type Pages = Range<u64>;

impl<'a> Record<'a> for Pages {
    fn write(&self, to: &mut Writer) {
        to.words(&[self.start, self.end]);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let page = crate::elf::PAGE_SIZE;
        let pages = from.word()?..from.word()?;
        (pages.start < pages.end && pages.start % page == 0 && pages.end % page == 0).then_some(pages)
    }
}

/// A part of the file that is mapped at a distance from the first window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarWindow {
    /// Where.
    pub pages: Pages,
    /// Where it begins in the file.
    pub offset: u64,
    /// What may be done with its pages, but for those that are regions.
    pub access: MemoryFlags,
}

impl<'a> Record<'a> for FarWindow {
    fn write(&self, to: &mut Writer) {
        self.pages.write(to);
        to.word(self.offset);
        to.byte(self.access.bits() as u8);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let (pages, offset) = (Pages::read(from)?, from.word()?);
        Some(Self { pages, offset, access: access(from)? })
    }
}

/// Where the contents of a region come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// They are what the window has there.
    Window,
    /// Another place in the file.
    File(u64),
    /// The same, and all will be written to soon.
    Written(u64),
    /// Zeros.
    Zero,
}

/// Pages that are different from the rest of their window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Which.
    pub pages: Pages,
    /// What may be done with them.
    pub access: MemoryFlags,
    /// What they hold.
    pub source: Source,
}

impl<'a> Record<'a> for Region {
    fn write(&self, to: &mut Writer) {
        self.pages.write(to);
        to.byte(self.access.bits() as u8);
        let (kind, offset) = match self.source {
            Source::Window => (0, 0),
            Source::File(offset) => (1, offset),
            Source::Written(offset) => (2, offset),
            Source::Zero => (3, 0),
        };
        to.byte(kind);
        to.word(offset);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let (pages, access) = (Pages::read(from)?, access(from)?);
        let source = match (from.byte()?, from.word()?) {
            (0, _) => Source::Window,
            (1, offset) => Source::File(offset),
            (2, offset) => Source::Written(offset),
            (3, _) => Source::Zero,
            _ => return None,
        };
        Some(Self { pages, access, source })
    }
}

/// A part of the first window that few starts read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowPart {
    /// Where it begins in the window, a multiple of a word.
    pub start: u64,
    /// Bytes of it.
    pub size: u64,
    /// Of these bytes.
    pub checksum: u64,
}

impl WindowPart {
    /// That is what these bytes, which are the window's there, are called.
    pub fn of(start: u64, bytes: &[u8]) -> Self {
        Self { start, size: bytes.len() as u64, checksum: checksum(&[bytes]) }
    }

    /// The bytes that the window has there, if they are the right ones.
    pub fn checked<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (checksum(&[bytes]) == self.checksum).then_some(bytes)
    }
}

impl<'a> Record<'a> for WindowPart {
    fn write(&self, to: &mut Writer) {
        to.words(&[self.start, self.size, self.checksum]);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let [start, size, checksum] = from.words()?;
        Some(Self { start, size, checksum })
    }
}

/// A part of the file that no start maps or reads unless it needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes of it.
    pub size: u64,
    /// Of these bytes.
    pub checksum: u64,
}

impl Aside {
    /// What the file has there is so much of a list; `None` if it is damaged.
    pub fn list<'a, R: Record<'a> + Clone>(&self, bytes: &'a [u8]) -> Option<List<'a, R>> {
        (checksum(&[bytes]) == self.checksum).then(|| Reader::new(bytes).list()).flatten()
    }
}

impl<'a> Record<'a> for Aside {
    fn write(&self, to: &mut Writer) {
        to.words(&[self.offset, self.size, self.checksum]);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self { offset: from.word()?, size: from.word()?, checksum: from.word()? })
    }
}

/// Pages that are mapped at once instead of by a page fault for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Populate {
    /// Which.
    pub pages: Pages,
    /// They will be written to; if not, read.
    pub write: bool,
}

impl<'a> Record<'a> for Populate {
    fn write(&self, to: &mut Writer) {
        self.pages.write(to);
        to.presence(self.write);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self { pages: Pages::read(from)?, write: from.presence()? })
    }
}

/// Rights to memory.
fn access(from: &mut Reader<'_>) -> Option<MemoryFlags> {
    MemoryFlags::from_bits(from.byte()?.into())
}
