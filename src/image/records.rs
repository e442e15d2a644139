//! The records of an image's tables: what was the case when it was built, the objects of the process, and what is left for it
//! to do.

use core::ffi::CStr;

use crate::discover::search;
use crate::elf::{Relocation, Summary, Vaddr};
use crate::program::TlsPlacement;
use crate::sys::{FileIdentity, FileStamp};

use super::encoding::{List, Numbers, Reader, Record, Writer};
use super::format::{Pages, Region, WindowPart};

/// The circumstances of a start that decide which objects it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// `LD_LIBRARY_PATH`
    pub library_path: Option<&'a CStr>,
    /// `LD_PRELOAD`
    pub preload: Option<&'a CStr>,
    /// `LD_MORSEL_LIBC`
    pub libc: Option<&'a CStr>,
    /// The program's path, if the search asked for its directory (`$ORIGIN`).
    pub origin: Option<&'a CStr>,
    /// The passes that have made the image, as `morselctl build` takes them.
    pub passes: Option<&'a CStr>,
    /// The program's file.
    pub program: FileStamp,
    /// Its [`fingerprint`](super::check::fingerprint).
    pub fingerprint: u64,
}

impl<'a> Record<'a> for Key<'a> {
    fn write(&self, to: &mut Writer) {
        [self.library_path, self.preload, self.libc, self.origin, self.passes]
            .into_iter()
            .for_each(|text| to.text(text));
        self.program.write(to);
        to.word(self.fingerprint);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self {
            library_path: from.text()?,
            preload: from.text()?,
            libc: from.text()?,
            origin: from.text()?,
            passes: from.text()?,
            program: FileStamp::read(from)?,
            fingerprint: from.word()?,
        })
    }
}

impl<'a> Record<'a> for FileStamp {
    fn write(&self, to: &mut Writer) {
        let Self { identity, size, modified, changed } = *self;
        to.words(&[identity.device, identity.inode, size, modified, changed]);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let [device, inode, size, modified, changed] = from.words()?;
        Some(Self { identity: FileIdentity { device, inode }, size, modified, changed })
    }
}

/// A path that was tried: the file that was there, or none. It must be the same file still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// Where.
    pub path: &'a CStr,
    /// What; `None` if there must be no such file.
    pub stamp: Option<FileStamp>,
    /// Many of those that follow are in the same directory.
    pub has_neighbours: bool,
}

impl<'a> Record<'a> for Input<'a> {
    fn write(&self, to: &mut Writer) {
        to.text(Some(self.path));
        to.presence(self.stamp.is_some());
        to.presence(self.has_neighbours);
        if let Some(stamp) = &self.stamp {
            stamp.write(to);
        }
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let path = from.text()??;
        let (has_stamp, has_neighbours) = (from.presence()?, from.presence()?);
        let stamp = if has_stamp { Some(FileStamp::read(from)?) } else { None };
        Some(Self { path, stamp, has_neighbours })
    }
}

/// What an object is to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The kernel maps it. It is not in the image.
    Program,
    /// It is relocated.
    Library,
    /// It is as its file has it, and relocates itself.
    Libc,
    /// The kernel maps it. It is not in the image.
    Loader,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// What it is.
    pub role: Role,
    /// The path by which the search found it.
    pub name: &'a CStr,
    /// Its file.
    pub identity: Option<FileIdentity>,
    /// A bare name finds it.
    pub has_short_name: bool,
    /// Who asked for it first.
    pub needed_by: Option<u32>,
    /// What it asked for, in order.
    pub dependencies: Numbers<'a>,
    /// Its thread-local storage.
    pub tls: Option<TlsPlacement>,
    /// Where its link-time address 0 is, counted from the image's start. It may be "negative".
    pub place: u64,
    /// Its pages, from the first to the last one, by their link-time addresses.
    pub span: Pages,
    /// `e_entry`
    pub entry: u64,
    /// Where its program headers are, if they are in memory, and how many.
    pub headers: Option<(u64, u32)>,
    /// What every start needs to know of its headers and tables.
    pub summary: Summary,
    /// Where the image's copy of them is ([`Details`](super::format::Details)), if it is in the image.
    pub details: Option<WindowPart>,
    /// What is read-only after relocation is so already, and shared.
    pub sealed: bool,
    /// If its parts have been moved apart, where its file has the dynamic section: debuggers think it there.
    pub linked_dynamic: Option<u64>,
    /// By how much its code has moved then: debuggers think all there.
    pub code_shift: u64,
    /// Its constructors do nothing, so that they need not be called.
    pub idle_constructors: bool,
    /// Likewise its destructors.
    pub idle_destructors: bool,
}

impl<'a> Member<'a> {
    /// The name by which a search finds it without a path, if there is one: the last part of the path.
    pub(super) fn short_name(&self) -> Option<&'a CStr> {
        let path = self.name.to_bytes_with_nul();
        let start = path.len() - 1 - search::file_name(self.name).len();
        self.has_short_name.then(|| CStr::from_bytes_with_nul(&path[start..]).ok())?
    }

    /// Whether a start itself needs to know more of it than the summary: to boot it, to copy thread-local storage, to seal it, to call
    /// its code now or at the end.
    pub fn is_used_by_start(&self) -> bool {
        let is_idle = self.idle_constructors && self.idle_destructors;
        let is_run = self.summary.has_initialisation && !is_idle;
        self.role == Role::Libc || self.summary.has_tls || !self.sealed || is_run
    }

    /// Whether all objects that it names are among so many.
    pub(super) fn knows_only(&self, count: usize) -> bool {
        let mut named = self.needed_by.into_iter().chain(self.dependencies.iter());
        named.all(|object| (object as usize) < count)
    }
}

impl<'a> Record<'a> for Member<'a> {
    fn write(&self, to: &mut Writer) {
        let present = [
            self.identity.is_some(),
            self.has_short_name,
            self.needed_by.is_some(),
            self.tls.is_some(),
            self.tls.is_some_and(|tls| tls.offset.is_some()),
            self.headers.is_some(),
            self.details.is_some(),
            self.sealed,
            self.linked_dynamic.is_some(),
            self.summary.has_tls,
            self.summary.has_initialisation,
            self.idle_constructors,
            self.idle_destructors,
        ];
        let present = present.iter().rev().fold(0, |bits, &present| bits << 1 | u64::from(present));
        let both = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let (headers, header_count) = self.headers.unwrap_or_default();
        let details = self.details.unwrap_or_default();
        to.words(&[
            present << 8 | self.role as u64,
            self.identity.map_or(0, |identity| identity.device),
            self.identity.map_or(0, |identity| identity.inode),
            both(self.needed_by.unwrap_or(0), header_count),
            self.tls.map_or(0, |tls| tls.module),
            self.tls.and_then(|tls| tls.offset).unwrap_or(0),
            self.place,
            self.span.start,
            self.span.end,
            self.entry,
            headers,
            self.summary.dynamic_section.0,
            self.summary.stack_size,
            details.start,
            details.size,
            details.checksum,
            self.linked_dynamic.unwrap_or(0),
            self.code_shift,
        ]);
        to.bytes(self.name.to_bytes_with_nul());
        to.bytes(self.dependencies.bytes());
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        // Numbers first: they are read all at once, which every start does for every object.
        let [
            kind,
            device,
            inode,
            counts,
            module,
            offset,
            place,
            span_start,
            span_end,
            entry,
            headers,
            dynamic_section,
            stack_size,
            start,
            size,
            checksum,
            linked_dynamic,
            code_shift,
        ] = from.words()?;
        let role = match kind & 0xff {
            0 => Role::Program,
            1 => Role::Library,
            2 => Role::Libc,
            3 => Role::Loader,
            _ => return None,
        };
        let has = |number: u32| kind >> (8 + number) & 1 != 0;
        let [needed_by, header_count] = [counts as u32, (counts >> 32) as u32];
        let name = CStr::from_bytes_with_nul(from.bytes()?).ok()?;
        let dependencies = Numbers::of(from.bytes()?);
        Some(Self {
            role,
            name,
            identity: has(0).then_some(FileIdentity { device, inode }),
            has_short_name: has(1),
            needed_by: has(2).then_some(needed_by),
            dependencies,
            tls: has(3).then(|| TlsPlacement { module, offset: has(4).then_some(offset) }),
            place,
            span: span_start..span_end,
            entry,
            headers: has(5).then_some((headers, header_count)),
            summary: Summary {
                dynamic_section: Vaddr(dynamic_section),
                stack_size,
                has_tls: has(9),
                has_initialisation: has(10),
            },
            details: has(6).then_some(WindowPart { start, size, checksum }),
            sealed: has(7),
            linked_dynamic: has(8).then_some(linked_dynamic),
            code_shift,
            idle_constructors: has(11),
            idle_destructors: has(12),
        })
    }
}

/// A definition that something is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The object that defines it.
    pub object: u32,
    /// `st_value`
    pub value: u64,
    /// `st_size`
    pub size: u64,
    /// `st_info`
    pub info: u8,
    /// `st_shndx`
    pub section: u16,
}

impl<'a> Record<'a> for Binding {
    fn write(&self, to: &mut Writer) {
        let kind = u64::from(self.section) << 8 | u64::from(self.info);
        to.words(&[kind << 32 | u64::from(self.object), self.value, self.size]);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let [kind, value, size] = from.words()?;
        Some(Self {
            object: kind as u32,
            value,
            size,
            info: (kind >> 32) as u8,
            section: (kind >> 40) as u16,
        })
    }
}

/// A relocation that the process carries out itself.
#[derive(Clone, Copy, Debug)]
pub struct LateRelocation {
    /// Whose it is.
    pub object: u32,
    /// The relocation.
    pub relocation: Relocation,
    /// What its symbol is bound to, if to anything.
    pub binding: Option<Binding>,
}

impl<'a> Record<'a> for LateRelocation {
    fn write(&self, to: &mut Writer) {
        let Relocation { slot, kind, symbol, addend } = self.relocation;
        let present = u64::from(addend.is_some()) | u64::from(self.binding.is_some()) << 1;
        to.words(&[
            present << 32 | u64::from(self.object),
            u64::from(symbol) << 32 | u64::from(kind),
            slot.0,
            addend.unwrap_or(0),
        ]);
        if let Some(binding) = &self.binding {
            binding.write(to);
        }
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let [object, kind, slot, addend] = from.words()?;
        let has = |number: u32| object >> (32 + number) & 1 != 0;
        let (slot, addend) = (Vaddr(slot), has(0).then_some(addend));
        let relocation = Relocation { slot, kind: kind as u32, symbol: (kind >> 32) as u32, addend };
        let binding = if has(1) { Some(Binding::read(from)?) } else { None };
        Some(Self { object: object as u32, relocation, binding })
    }
}

/// A name that libc refers to and that something before libc defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interposed<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Its definition.
    pub binding: Binding,
}

impl<'a> Record<'a> for Interposed<'a> {
    fn write(&self, to: &mut Writer) {
        to.bytes(self.name);
        self.binding.write(to);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self { name: from.bytes()?, binding: Binding::read(from)? })
    }
}

/// A library some of whose calls do not lead through their slots any more, but straight to what these are bound to. A process
/// in which one of the names means something else needs the library's original code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten<'a> {
    /// The library.
    pub object: u32,
    /// The functions that it calls so.
    pub symbols: List<'a, &'a [u8]>,
    /// All pages whose contents have changed, with those that the library's file has.
    pub original: List<'a, Region>,
}

impl<'a> Record<'a> for Rewritten<'a> {
    fn write(&self, to: &mut Writer) {
        to.half(self.object);
        to.list(&self.symbols);
        to.list(&self.original);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self { object: from.half()?, symbols: from.list()?, original: from.list()? })
    }
}

impl<'a> Record<'a> for &'a [u8] {
    fn write(&self, to: &mut Writer) {
        to.bytes(self);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        from.bytes()
    }
}
