//! The records of an image's tables: what was the case when it was built, the objects of the process, and what is left for it
//! to do.

use alloc::vec::Vec;
use core::ffi::CStr;

use crate::elf::{Relocation, Vaddr};
use crate::program::TlsPlacement;
use crate::sys::{FileIdentity, FileStamp};

use super::encoding::{Reader, Record, Writer};

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
        [self.library_path, self.preload, self.libc, self.origin, self.passes].into_iter().for_each(|text| to.text(text));
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
        let identity = FileIdentity { device: from.word()?, inode: from.word()? };
        Some(Self { identity, size: from.word()?, modified: from.word()?, changed: from.word()? })
    }
}

/// A path that was tried: the file that was there, or none. It must be the same file still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// Where.
    pub path: &'a CStr,
    /// What; `None` if there must be no such file.
    pub stamp: Option<FileStamp>,
}

impl<'a> Record<'a> for Input<'a> {
    fn write(&self, to: &mut Writer) {
        to.text(Some(self.path));
        to.presence(self.stamp.is_some());
        if let Some(stamp) = &self.stamp {
            stamp.write(to);
        }
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let path = from.text()??;
        let stamp = if from.presence()? { Some(FileStamp::read(from)?) } else { None };
        Some(Self { path, stamp })
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
    pub dependencies: Vec<u32>,
    /// Its thread-local storage.
    pub tls: Option<TlsPlacement>,
    /// Where its link-time address 0 is, counted from the image's start. It may be "negative".
    pub place: u64,
    /// `e_entry`
    pub entry: u64,
    /// Where its program headers are, if they are in memory, and how many.
    pub headers: Option<(u64, u32)>,
    /// The program headers.
    pub header_table: &'a [u8],
    /// The dynamic section.
    pub dynamic: &'a [u8],
    /// The head of its `DT_GNU_HASH` table, if it has one.
    pub gnu_hash: Option<[u32; 4]>,
    /// What is read-only after relocation is so already, and shared.
    pub sealed: bool,
}

impl Member<'_> {
    /// The objects that it names.
    pub(super) fn references(&self) -> impl Iterator<Item = u32> + '_ {
        self.needed_by.into_iter().chain(self.dependencies.iter().copied())
    }
}

impl<'a> Record<'a> for Member<'a> {
    fn write(&self, to: &mut Writer) {
        to.byte(self.role as u8);
        to.text(Some(self.name));
        to.presence(self.identity.is_some());
        if let Some(identity) = self.identity {
            to.words(&[identity.device, identity.inode]);
        }
        to.presence(self.has_short_name);
        to.presence(self.needed_by.is_some());
        to.half(self.needed_by.unwrap_or(0));
        to.word(self.dependencies.len() as u64);
        self.dependencies.iter().for_each(|&dependency| to.half(dependency));
        to.presence(self.tls.is_some());
        if let Some(tls) = self.tls {
            to.word(tls.module);
            to.presence(tls.offset.is_some());
            to.word(tls.offset.unwrap_or(0));
        }
        to.words(&[self.place, self.entry]);
        to.presence(self.headers.is_some());
        let (headers, count) = self.headers.unwrap_or_default();
        to.word(headers);
        to.half(count);
        to.bytes(self.header_table);
        to.bytes(self.dynamic);
        to.presence(self.gnu_hash.is_some());
        self.gnu_hash.unwrap_or_default().into_iter().for_each(|half| to.half(half));
        to.presence(self.sealed);
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let role = match from.byte()? {
            0 => Role::Program,
            1 => Role::Library,
            2 => Role::Libc,
            3 => Role::Loader,
            _ => return None,
        };
        let name = from.text()??;
        let identity = match from.presence()? {
            true => Some(FileIdentity { device: from.word()?, inode: from.word()? }),
            false => None,
        };
        let has_short_name = from.presence()?;
        let (needed, needed_by) = (from.presence()?, from.half()?);
        let count = from.word()?;
        let mut dependencies = Vec::new();
        for _ in 0..count {
            dependencies.push(from.half()?);
        }
        let tls = match from.presence()? {
            true => {
                let (module, placed, offset) = (from.word()?, from.presence()?, from.word()?);
                Some(TlsPlacement { module, offset: placed.then_some(offset) })
            }
            false => None,
        };
        let (place, entry) = (from.word()?, from.word()?);
        let (loaded, headers) = (from.presence()?, (from.word()?, from.half()?));
        let (header_table, dynamic) = (from.bytes()?, from.bytes()?);
        let hashed = from.presence()?;
        let gnu_hash = [from.half()?, from.half()?, from.half()?, from.half()?];
        Some(Self {
            role,
            name,
            identity,
            has_short_name,
            needed_by: needed.then_some(needed_by),
            dependencies,
            tls,
            place,
            entry,
            headers: loaded.then_some(headers),
            header_table,
            dynamic,
            gnu_hash: hashed.then_some(gnu_hash),
            sealed: from.presence()?,
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
        to.half(self.object);
        to.words(&[self.value, self.size]);
        to.byte(self.info);
        to.half(self.section.into());
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self {
            object: from.half()?,
            value: from.word()?,
            size: from.word()?,
            info: from.byte()?,
            section: from.half()?.try_into().ok()?,
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
        [self.object, kind, symbol].into_iter().for_each(|half| to.half(half));
        to.word(slot.0);
        to.presence(addend.is_some());
        to.word(addend.unwrap_or(0));
        to.presence(self.binding.is_some());
        if let Some(binding) = &self.binding {
            binding.write(to);
        }
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let (object, kind, symbol) = (from.half()?, from.half()?, from.half()?);
        let slot = Vaddr(from.word()?);
        let (has_addend, addend) = (from.presence()?, from.word()?);
        let relocation = Relocation { slot, kind, symbol, addend: has_addend.then_some(addend) };
        let binding = if from.presence()? { Some(Binding::read(from)?) } else { None };
        Some(Self { object, relocation, binding })
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
