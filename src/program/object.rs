//! One loaded object: the program, a library, libc, the loader itself or the kernel's vDSO.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;
use core::ops::{Deref, Range};

use once_cell::race::OnceBox;

use crate::elf::{
    Address, Anatomy, ElfError, LoadBias, LoadSegment, Segments, Summary, TlsSegment, Vaddr, View,
};
use crate::sys::{FileIdentity, Text};

/// An object's place in load order; the program is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId(pub u32);

impl ObjectId {
    /// The program itself: musl's `head`.
    pub const PROGRAM: Self = Self(0);

    /// For indexing tables that have an entry for each object.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How an object came to be in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel mapped the program before it started us as its interpreter.
    Kernel,
    /// We mapped it from a file.
    File,
    /// We mapped it, and it relocates itself when it is booted (see `host`).
    Libc,
    /// This loader.
    Loader,
    /// The kernel's vDSO: known to debuggers and unwinders, never searched for symbols.
    Vdso,
}

/// Where an object is in memory.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// From link-time addresses to addresses in this process.
    pub bias: LoadBias,
    /// From the first to the last mapped page; holes may be inside.
    pub pages: Range<Address>,
    /// Name of the backend that mapped it (for `LD_MORSEL_STATS`).
    pub backend: &'static str,
    /// What is read-only after relocation has never been writable.
    pub sealed: bool,
    /// Its writable pages are shared with other processes until somebody writes to them.
    pub shared: bool,
}

/// What the search for libraries remembers of an object. Apart from [`Object`], which does not change any more once the
/// program can see it.
#[derive(Clone, Debug, Default)]
pub struct SearchNotes {
    /// The file name under which a later bare `DT_NEEDED` finds the object: only set if a search found it.
    pub short_name: Option<Cow<'static, CStr>>,
    /// Its run-time search path.
    pub path: SearchPath,
}

/// `DT_RUNPATH`/`DT_RPATH` of an object, with `$ORIGIN` replaced when it is first needed.
#[derive(Clone, Debug, Default)]
pub enum SearchPath {
    /// Not yet looked at.
    #[default]
    Unread,
    /// There is none, or it is not to be used.
    None,
    /// Directories separated by `:` or newlines.
    List(Vec<u8>),
}

/// An object's place in thread-local storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsPlacement {
    /// The module id that `DTPMOD64` relocations write, from 1.
    pub module: u64,
    /// Its block begins this many bytes below the thread pointer; `None` if each thread gets a block when it first uses it.
    pub offset: Option<u64>,
}

/// Tells what an object consists of that nobody has looked at yet.
pub trait Describe: fmt::Debug + Send + Sync {
    /// Reads the headers and tables of the object, which is mapped with `bias`.
    ///
    /// # Errors
    /// What is wrong with them.
    fn describe(&self, bias: LoadBias) -> Result<Box<Anatomy<'static>>, ElfError>;
}

/// A loaded object. Its [`Anatomy`] is behind `*object`. If the object is from an image, that may be read as late as somebody asks for it,
/// which is a change: only who may change the loader's data may be the first to ask ([`Object::describe`]).
#[derive(Debug)]
pub struct Object {
    /// The path it was opened by, as users see it in messages.
    pub name: Cow<'static, CStr>,
    /// Where it comes from.
    pub origin: Origin,
    /// Which file it is, if it is one.
    pub identity: Option<FileIdentity>,
    /// Where it is.
    pub mapping: Mapping,
    /// Address and number of its program headers, if they are in memory.
    pub program_headers: Option<(Address, u16)>,
    /// `e_entry` in this process.
    pub entry: Address,
    /// What every start needs to know of its headers and tables.
    pub summary: Summary,
    /// What they say, once that has been read.
    anatomy: OnceBox<Anatomy<'static>>,
    /// Who will tell it.
    source: Option<Box<dyn Describe>>,
    /// If its parts have been moved apart, where its file has the dynamic section: debuggers compare that with where it is to
    /// find out how far the object has been moved, all parts alike.
    pub linked_dynamic: Option<Vaddr>,
    /// By how much its code has been moved then.
    pub code_shift: u64,
    /// Who asked for it first; the chain ends at the program (or at a preloaded library).
    pub needed_by: Option<ObjectId>,
    /// What it asked for, in order; for the program, the preloaded objects come first.
    pub dependencies: Vec<ObjectId>,
    /// Its thread-local storage, once laid out.
    pub tls: Option<TlsPlacement>,
    /// Its constructors are known to do nothing, as those that compilers add to every library do without need.
    pub idle_constructors: bool,
    /// Likewise its destructors.
    pub idle_destructors: bool,
}

/// An object's headers and tables are its own.
impl Deref for Object {
    type Target = Anatomy<'static>;

    fn deref(&self) -> &Self::Target {
        self.anatomy.get().unwrap_or_else(|| self.describe_or_empty())
    }
}

impl Object {
    /// An object that is mapped. It has neither a file, nor an entry, nor moved parts, nor are its program headers in memory, nor are
    /// its constructors known, unless that is added.
    pub fn new(
        name: Cow<'static, CStr>,
        origin: Origin,
        mapping: Mapping,
        anatomy: Box<Anatomy<'static>>,
    ) -> Box<Self> {
        let summary = anatomy.summary();
        Self::boxed(name, origin, mapping, summary, OnceBox::with_value(anatomy), None)
    }

    /// The same, if nobody has looked at its headers and tables. `source` tells what they say, `summary` what every start needs of it.
    pub fn undescribed(
        name: Cow<'static, CStr>,
        origin: Origin,
        mapping: Mapping,
        summary: Summary,
        source: Box<dyn Describe>,
    ) -> Box<Self> {
        Self::boxed(name, origin, mapping, summary, OnceBox::new(), Some(source))
    }

    #[inline]
    fn boxed(
        name: Cow<'static, CStr>,
        origin: Origin,
        mapping: Mapping,
        summary: Summary,
        anatomy: OnceBox<Anatomy<'static>>,
        source: Option<Box<dyn Describe>>,
    ) -> Box<Self> {
        Box::new(Self {
            name,
            origin,
            identity: None,
            mapping,
            program_headers: None,
            entry: Address(0),
            summary,
            anatomy,
            source,
            linked_dynamic: None,
            code_shift: 0,
            needed_by: None,
            dependencies: Vec::new(),
            tls: None,
            idle_constructors: false,
            idle_destructors: false,
        })
    }

    /// The same as [`Object::new`], with its tables read.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(
        name: Cow<'static, CStr>,
        origin: Origin,
        mapping: Mapping,
        segments: Segments,
        view: View<'static>,
    ) -> Result<Box<Self>, ElfError> {
        let mut anatomy = Box::new(Anatomy::unread());
        (anatomy.segments, anatomy.view) = (segments, view);
        anatomy.read_tables()?;
        Ok(Self::new(name, origin, mapping, anatomy))
    }

    /// Reads its headers and tables, if that has not been done.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn describe(&self) -> Result<(), ElfError> {
        let Some(source) = &self.source else { return Ok(()) };
        self.anatomy.get_or_try_init(|| source.describe(self.mapping.bias)).map(|_| ())
    }

    /// What it consists of, nothing if its tables make no sense.
    #[cold]
    #[inline(never)]
    fn describe_or_empty(&self) -> &Anatomy<'static> {
        if let Err(error) = self.describe() {
            log::error!("{}: {error}", Text::from(&self.name));
        }
        self.anatomy.get_or_init(|| Box::new(Anatomy::unread()))
    }

    /// Where `vaddr` is in this process.
    pub fn address(&self, vaddr: Vaddr) -> Address {
        self.mapping.bias.apply(vaddr)
    }

    /// The interpreter that the object names (`PT_INTERP`).
    pub fn interpreter(&self) -> Option<&'static CStr> {
        self.segments.interpreter_in(&self.view)
    }

    /// Whether `address` lies in one of the object's executable segments.
    pub fn is_code(&self, address: Address) -> bool {
        self.mapping.pages.contains(&address) && self.segments.is_code(self.mapping.bias.unapply(address))
    }

    /// Whether a segment of the object holds `address`; a hole between segments is not the object's.
    pub fn has_segment_at(&self, address: Address) -> bool {
        if !self.mapping.pages.contains(&address) {
            return false;
        }
        let vaddr = self.mapping.bias.unapply(address);
        self.segments.loads.iter().map(LoadSegment::range).any(|range| range.contains(&vaddr))
    }

    /// Its thread-local storage, if it has any.
    pub fn tls_segment(&self) -> Option<TlsSegment> {
        if self.summary.has_tls { self.segments.tls } else { None }
    }

    /// Whether it is the hosted C library.
    pub fn is_libc(&self) -> bool {
        self.origin == Origin::Libc
    }

    /// Whether there is anything to be run when it is initialised or finalised. libc initialises itself.
    pub fn has_initialisation(&self) -> bool {
        let is_idle = self.idle_constructors && self.idle_destructors;
        matches!(self.origin, Origin::Kernel | Origin::File) && self.summary.has_initialisation && !is_idle
    }

    /// Whether the object asks for glibc's `libc.so.6`. Such an object may still run on musl, if it wants little.
    pub fn wants_glibc(&self) -> bool {
        self.dynamic.needed.iter().any(|&name| self.symbols.string(name) == Some(c"libc.so.6"))
    }
}
