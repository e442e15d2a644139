//! Tests of musl's search rules in a world that exists in memory only. Its tools are here, the tests in two parts: where
//! libraries are sought, and what becomes of those that are found.

mod loading;
mod searching;

use core::ffi::CStr;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};

use super::*;
use crate::elf::tests::builder::{Library, SymbolSpec};
use crate::elf::tests::object;

/// What is at a path.
#[derive(Clone)]
enum Entry {
    /// A library with its inode number.
    Library(u64, Box<Library>),
    /// Text.
    Text(&'static str),
    /// Something that cannot be opened.
    Refused(Errno),
    /// Something that can be opened and not read.
    Unreadable(Errno),
}

/// A file system with a memory of what was done to it.
struct Fake {
    files: BTreeMap<CString, Entry>,
    executable: Result<&'static str, Errno>,
    opened: Vec<String>,
    announced: Vec<(String, String)>,
    unloaded: usize,
}

impl World for Fake {
    type File = Entry;

    fn open(&mut self, path: &CStr) -> Result<Entry, Errno> {
        self.opened.push(path.to_string_lossy().into_owned());
        match self.files.get(path) {
            Some(Entry::Refused(errno)) => Err(*errno),
            Some(entry) => Ok(entry.clone()),
            None => Err(Errno::NOENT),
        }
    }

    fn identity(&mut self, file: &Entry) -> Result<(FileIdentity, u64), Errno> {
        match file {
            Entry::Library(inode, _) => Ok((identity(*inode), 0x1000)),
            Entry::Text(text) => Ok((identity(0), text.len() as u64)),
            Entry::Refused(errno) | Entry::Unreadable(errno) => Err(*errno),
        }
    }

    fn load(
        &mut self,
        file: Entry,
        identity: FileIdentity,
        _size: u64,
        name: CString,
        _origin: Origin,
    ) -> Result<Box<Object>, LoadError> {
        let Entry::Library(_, library) = file else { return Err(LoadError::System(Errno::NOEXEC)) };
        Ok(object::load(&library, &name, identity)?)
    }

    fn unload(&mut self, _object: Box<Object>) {
        self.unloaded += 1;
    }

    fn contents(&mut self, file: Entry) -> Result<Vec<u8>, Errno> {
        match file {
            Entry::Text(text) => Ok(text.into()),
            Entry::Unreadable(errno) => Err(errno),
            _ => Ok(Vec::new()),
        }
    }

    fn executable<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        let path = self.executable?.as_bytes();
        let length = path.len().min(buffer.len());
        buffer[..length].copy_from_slice(&path[..length]);
        Ok(&buffer[..length])
    }

    fn announce(&mut self, name: &CStr, path: &CStr, _start: Address) {
        let text = |text: &CStr| text.to_string_lossy().into_owned();
        self.announced.push((text(name), text(path)));
    }
}

fn identity(inode: u64) -> FileIdentity {
    FileIdentity { device: 1, inode }
}

/// A library that needs others.
fn needing(needed: &[&str]) -> Library {
    let needed = needed.iter().map(|name| name.as_bytes().to_vec()).collect();
    Library { needed, ..Library::default() }
}

/// What a program is started with.
struct Setup {
    world: Fake,
    program: Library,
    origin: Origin,
    library_path: Option<&'static CStr>,
    preload: Option<&'static CStr>,
    secure: bool,
    has_libc: bool,
}

impl Setup {
    /// A program in `/bin` that needs these, and libc.
    fn needing(needed: &[&str]) -> Self {
        Self::starting(needing(needed))
    }

    fn starting(program: Library) -> Self {
        let world = Fake {
            files: BTreeMap::new(),
            executable: Ok("/bin/program"),
            opened: Vec::new(),
            announced: Vec::new(),
            unloaded: 0,
        };
        let origin = Origin::Kernel;
        let (library_path, preload) = (None, None);
        Self { world, program, origin, library_path, preload, secure: false, has_libc: true }
    }

    /// With something at a path.
    fn entry(mut self, path: &str, entry: Entry) -> Self {
        self.world.files.insert(CString::new(path).expect("paths have no NUL"), entry);
        self
    }

    /// With a library at a path; each has an inode of its own.
    fn file(self, path: &str, library: Library) -> Self {
        let inode = 100 + self.world.files.len() as u64;
        self.entry(path, Entry::Library(inode, Box::new(library)))
    }

    /// With an empty library at each path.
    fn files(self, paths: &[&str]) -> Self {
        paths.iter().fold(self, |setup, path| setup.file(path, Library::default()))
    }

    fn run(mut self) -> Outcome {
        let load = |library: &Library, name, inode| {
            object::load(library, name, identity(inode)).expect("the builder makes valid libraries")
        };
        let mut program = load(&self.program, c"/bin/program", 1);
        program.origin = self.origin;
        let host = self.has_libc.then(|| {
            let mut loader = load(&Library::default(), c"/lib/ld-morsel", 2);
            loader.origin = Origin::Loader;
            let mut libc = load(&Library::default(), c"/opt/lib/libc.so", 3);
            libc.origin = Origin::Libc;
            Host { loader, libc }
        });
        let wishes = Wishes {
            interpreter: c"/lib/ld-musl-x86_64.so.1",
            library_path: self.library_path,
            secure: self.secure,
        };
        let mut objects = Program::default();
        objects.add(program);
        let mut search = Search::new(host, wishes);
        let errors = Discovery::new(&mut self.world, &mut objects, &mut search).start(self.preload);
        Outcome { world: self.world, program: objects, unused_host: search.take_host(), errors }
    }
}

/// What came of it.
struct Outcome {
    world: Fake,
    program: Program,
    unused_host: Option<Host>,
    errors: Vec<StartError>,
}

impl Outcome {
    /// The paths of all objects but the program, in load order.
    fn loaded(&self) -> Vec<String> {
        let names = self.program.objects().skip(1).map(|object| object.name.to_string_lossy().into_owned());
        names.collect()
    }

    /// The error messages.
    fn errors(&self) -> Vec<String> {
        self.errors.iter().map(ToString::to_string).collect()
    }

    /// The paths that were tried.
    fn opened(&self) -> Vec<&str> {
        self.world.opened.iter().map(String::as_str).collect()
    }

    /// The dependencies of the object in this place.
    fn dependencies(&self, place: u32) -> Vec<u32> {
        self.program[ObjectId(place)].dependencies.iter().map(|id| id.0).collect()
    }

    /// The short name of the object in this place.
    fn short_name(&self, place: u32) -> Option<&CStr> {
        self.program.notes(ObjectId(place)).short_name.as_deref()
    }
}

/// musl's words for what cannot be found.
fn not_found(name: &str) -> String {
    format!("Error loading shared library {name}: No such file or directory (needed by /bin/program)")
}
