//! The dynamic section (gABI chapter 5), decoded once into a struct.

use goblin::elf64::dynamic::{
    DF_1_NOW, DF_BIND_NOW, DF_STATIC_TLS, DF_TEXTREL, DT_BIND_NOW, DT_DEBUG, DT_FINI, DT_FINI_ARRAY,
    DT_FINI_ARRAYSZ, DT_FLAGS, DT_FLAGS_1, DT_GNU_HASH, DT_HASH, DT_INIT, DT_INIT_ARRAY, DT_INIT_ARRAYSZ,
    DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELASZ, DT_RELSZ, DT_RPATH,
    DT_RUNPATH, DT_STRTAB, DT_SYMTAB, DT_TEXTREL, DT_VERDEF, DT_VERSYM, Dyn,
};

use smallvec::SmallVec;

use super::{ElfError, Segments, Vaddr, View};

/// Objects rarely ask for more.
const USUAL_NEEDED: usize = 4;

const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;

/// A table of the dynamic section: an address and a size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Where it is.
    pub vaddr: Vaddr,
    /// Its size in bytes; zero if there is none.
    pub size: u64,
}

/// The dynamic section's contents. An absent address is `None`, an absent table has size zero.
///
/// As in musl (`decode_vec`, `search_vec`), the last entry of a tag counts, except for `DT_GNU_HASH` and
/// `DT_VERSYM`, where it is the first. `DT_SONAME`, `DT_SYMBOLIC` and `DT_STRSZ` are not used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// `DT_NEEDED`: offsets into the string table.
    pub needed: SmallVec<[u64; USUAL_NEEDED]>,
    /// `DT_STRTAB`
    pub strtab: Option<Vaddr>,
    /// `DT_SYMTAB`
    pub symtab: Option<Vaddr>,
    /// `DT_HASH`
    pub hash: Option<Vaddr>,
    /// `DT_GNU_HASH`
    pub gnu_hash: Option<Vaddr>,
    /// `DT_VERSYM`
    pub versym: Option<Vaddr>,
    /// `DT_VERDEF`: musl's libc has none
    pub verdef: Option<Vaddr>,
    /// `DT_JMPREL`, `DT_PLTRELSZ`
    pub jmprel: Table,
    /// `DT_PLTREL` says that `jmprel` holds `Elf64_Rela`.
    pub jmprel_has_addends: bool,
    /// `DT_REL`
    pub rel: Table,
    /// `DT_RELA`
    pub rela: Table,
    /// `DT_RELR`
    pub relr: Table,
    /// `DT_INIT`
    pub init: Option<Vaddr>,
    /// `DT_FINI`
    pub fini: Option<Vaddr>,
    /// `DT_INIT_ARRAY`
    pub init_array: Table,
    /// `DT_FINI_ARRAY`
    pub fini_array: Table,
    /// `DT_RUNPATH`, else `DT_RPATH`: offset into the string table.
    pub search_path: Option<u64>,
    /// `DT_TEXTREL` or `DF_TEXTREL`: relocations write into read-only segments.
    pub text_relocations: bool,
    /// `DT_BIND_NOW`, `DF_BIND_NOW` or `DF_1_NOW`: no symbol may stay open.
    pub bind_now: bool,
    /// `DF_STATIC_TLS`: code uses initial-exec access to thread-local variables.
    pub static_tls: bool,
    /// Where the value of the `DT_DEBUG` entry is.
    pub debug: Option<Vaddr>,
}

impl Dynamic {
    /// Whether entries with this tag are read: others may be missing.
    pub fn reads(tag: u64) -> bool {
        #[repr(align(8))]
        struct Entries([[u8; 8]; 8]);
        let read = |tag: u64, value: u64| {
            // Without these, sizes mean nothing.
            let entries = [DT_INIT_ARRAY, 0, DT_FINI_ARRAY, 0, tag, value, DT_NULL, 0];
            let entries = Entries(entries.map(u64::to_le_bytes));
            Self::parse(&View::new([(Vaddr(0), entries.0.as_flattened())]), Vaddr(0)).ok()
        };
        let says_something = |value: u64| read(tag, value) != read(DT_NULL, 0);
        // Of flags all, and the one value of `DT_PLTREL` that means something.
        says_something(u64::MAX) || says_something(DT_RELA)
    }

    /// Checks what will be called: constructors and destructors must be code, their tables must be in the object.
    ///
    /// # Errors
    /// What is not.
    pub fn check_initialisation(&self, view: &View<'_>, segments: &Segments) -> Result<(), ElfError> {
        for (function, name) in [(self.init, "DT_INIT"), (self.fini, "DT_FINI")] {
            if function.is_some_and(|function| !segments.is_code(function)) {
                return Err(ElfError::NotCode(name));
            }
        }
        for (table, name) in [(self.init_array, "DT_INIT_ARRAY"), (self.fini_array, "DT_FINI_ARRAY")] {
            if table.size > 0 && view.bytes(table.vaddr, table.size).is_none() {
                return Err(ElfError::BadTable(name));
            }
        }
        Ok(())
    }

    /// Decodes the dynamic section at `vaddr`, up to its `DT_NULL`.
    ///
    /// # Errors
    /// [`ElfError::BadTable`] if it lies outside the object or has no `DT_NULL`.
    pub fn parse(view: &View<'_>, vaddr: Vaddr) -> Result<Self, ElfError> {
        let mut dynamic = Self::default();
        dynamic.read(view, vaddr)?;
        Ok(dynamic)
    }

    /// Whether [`Dynamic::read`] takes no memory for the dynamic section at `vaddr`.
    pub fn names_few(view: &View<'_>, vaddr: Vaddr) -> bool {
        let entries: &[Dyn] = view.table_from(vaddr, "").unwrap_or_default();
        let entries = entries.iter().take_while(|entry| entry.d_tag != DT_NULL);
        entries.filter(|entry| entry.d_tag == DT_NEEDED).count() <= USUAL_NEEDED
    }

    /// The same, in place.
    ///
    /// # Errors
    /// As for [`Dynamic::parse`].
    pub fn read(&mut self, view: &View<'_>, vaddr: Vaddr) -> Result<(), ElfError> {
        let entries: &[Dyn] = view.table_from(vaddr, "it lies outside the loaded segments")?;
        let end = entries.iter().position(|entry| entry.d_tag == DT_NULL);
        let entries = &entries[..end.ok_or(ElfError::BadTable("it has no end (DT_NULL)"))?];
        let dynamic = self;
        let (mut rpath, mut runpath) = (None, None);
        let (mut init_array, mut fini_array) = (None, None);
        for (index, entry) in entries.iter().enumerate() {
            let value = entry.d_val;
            let address = Some(Vaddr(value));
            match entry.d_tag {
                DT_NEEDED => dynamic.needed.push(value),
                DT_STRTAB => dynamic.strtab = address,
                DT_SYMTAB => dynamic.symtab = address,
                DT_HASH => dynamic.hash = address,
                DT_GNU_HASH => dynamic.gnu_hash = dynamic.gnu_hash.or(address),
                DT_VERSYM => dynamic.versym = dynamic.versym.or(address),
                DT_VERDEF => dynamic.verdef = address,
                DT_JMPREL => dynamic.jmprel.vaddr = Vaddr(value),
                DT_PLTRELSZ => dynamic.jmprel.size = value,
                DT_PLTREL => dynamic.jmprel_has_addends = value == DT_RELA,
                DT_REL => dynamic.rel.vaddr = Vaddr(value),
                DT_RELSZ => dynamic.rel.size = value,
                DT_RELA => dynamic.rela.vaddr = Vaddr(value),
                DT_RELASZ => dynamic.rela.size = value,
                DT_RELR => dynamic.relr.vaddr = Vaddr(value),
                DT_RELRSZ => dynamic.relr.size = value,
                DT_INIT => dynamic.init = address.filter(|init| init.0 != 0),
                DT_FINI => dynamic.fini = address.filter(|fini| fini.0 != 0),
                DT_INIT_ARRAY => init_array = address,
                DT_INIT_ARRAYSZ => dynamic.init_array.size = value,
                DT_FINI_ARRAY => fini_array = address,
                DT_FINI_ARRAYSZ => dynamic.fini_array.size = value,
                DT_RPATH => rpath = Some(value),
                DT_RUNPATH => runpath = Some(value),
                DT_TEXTREL => dynamic.text_relocations = true,
                DT_BIND_NOW => dynamic.bind_now = true,
                DT_FLAGS => {
                    dynamic.text_relocations |= value & DF_TEXTREL != 0;
                    dynamic.bind_now |= value & DF_BIND_NOW != 0;
                    dynamic.static_tls |= value & DF_STATIC_TLS != 0;
                }
                DT_FLAGS_1 => dynamic.bind_now |= value & DF_1_NOW != 0,
                DT_DEBUG => {
                    let offset = index * size_of::<Dyn>() + core::mem::offset_of!(Dyn, d_val);
                    dynamic.debug = Some(Vaddr(vaddr.0.wrapping_add(offset as u64)));
                }
                _ => {}
            }
        }
        dynamic.search_path = runpath.or(rpath);
        // A size alone says nothing (`do_init_fini`).
        for (table, vaddr) in [(&mut dynamic.init_array, init_array), (&mut dynamic.fini_array, fini_array)] {
            *table = vaddr.map_or(Table::default(), |vaddr| Table { vaddr, ..*table });
        }
        Ok(())
    }
}
