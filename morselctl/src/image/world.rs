//! The system as the loader's discovery sees it while an image is built: files are read instead of mapped, and every path that
//! was asked for is written down.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use ld_morsel::discover::World;
use ld_morsel::elf::{Address, ElfError, LoadBias};
use ld_morsel::error::LoadError;
use ld_morsel::image::check;
use ld_morsel::program::{Object, Origin};
use ld_morsel::sys::{self, Errno, File, FileIdentity, FileStamp};

use super::library::{InputFile, Library, move_object, read_object};

/// What is read of a file at least must be readable by all, or else the image is not, either.
const READABLE_BY_ALL: u32 = 0o004;

/// Until all libraries are known, each has addresses of its own far away from all others.
const FIRST_PROVISIONAL: u64 = 0x1000_0000_0000;
const PROVISIONAL_ROOM: u64 = 16 << 30;

/// The libraries of all programs.
#[derive(Default)]
pub struct Pool {
    /// Each once.
    pub libraries: Vec<Library>,
    /// Their files.
    pub files: Vec<InputFile>,
}

impl Pool {
    /// The library that an object, not yet in its place, stands for.
    pub fn index_of(&self, object: &Object) -> Option<usize> {
        let distance = object.mapping.bias.0.checked_sub(FIRST_PROVISIONAL)?;
        let index = usize::try_from(distance / PROVISIONAL_ROOM).ok()?;
        (matches!(object.origin, Origin::File | Origin::Libc) && index < self.libraries.len())
            .then_some(index)
    }
}

/// See the module.
pub struct Recorder<'a> {
    pool: &'a mut Pool,
    /// Which libraries of the pool this program has.
    used: Vec<usize>,
    /// The program's path, for `$ORIGIN`.
    program: CString,
    /// `$ORIGIN` has been asked for.
    pub asked_for_origin: bool,
    /// All paths that were tried, with what was there; what is in one directory together, which is looked at in less time.
    inputs: Vec<(CString, Option<FileStamp>)>,
    known: HashSet<CString>,
    /// All files may be read by everybody.
    pub readable_by_all: bool,
    /// A path depends on the current directory.
    pub relative: Option<CString>,
}

impl<'a> Recorder<'a> {
    /// Nothing read yet.
    pub fn new(pool: &'a mut Pool, program: CString) -> Self {
        Self {
            pool,
            used: Vec::new(),
            program,
            asked_for_origin: false,
            inputs: Vec::new(),
            known: HashSet::new(),
            readable_by_all: true,
            relative: None,
        }
    }

    fn record(&mut self, path: &CStr, stamp: Option<FileStamp>) {
        if !path.to_bytes().starts_with(b"/") {
            self.relative.get_or_insert_with(|| path.into());
        }
        if self.known.insert(path.into()) {
            self.inputs.push((path.into(), stamp));
        }
    }

    /// Takes a library into the pool, if it is not there for another program already.
    ///
    /// # Errors
    /// The loader would refuse it.
    pub fn add(
        &mut self,
        bytes: Vec<u8>,
        name: CString,
        identity: Option<FileIdentity>,
    ) -> Result<Box<Object>, ElfError> {
        let (mut object, library) =
            read_object(&bytes, name.clone(), Origin::File, identity, |_| LoadBias(0))?;
        if library.plan.length() > PROVISIONAL_ROOM {
            return Err(ElfError::BadTable("segments too far apart for an image"));
        }
        let Pool { libraries, files } = &mut *self.pool;
        let known = libraries.iter().position(|known| known.is_same(&library));
        let index = known.filter(|index| !self.used.contains(index)).unwrap_or_else(|| {
            files.push(InputFile::new(name, bytes, libraries.len()));
            libraries.push(library);
            libraries.len() - 1
        });
        self.used.push(index);
        let place = LoadBias(FIRST_PROVISIONAL + index as u64 * PROVISIONAL_ROOM);
        move_object(&mut object, place);
        Ok(object)
    }

    /// The library that an object, not yet in its place, stands for.
    pub fn index_of(&self, object: &Object) -> Option<usize> {
        self.pool.index_of(object)
    }

    /// All paths that were tried, with what was there; what is in one directory together, which is looked at in less time.
    pub fn into_inputs(mut self) -> Vec<(CString, Option<FileStamp>)> {
        self.inputs.sort_by_cached_key(|(path, _)| check::directory_of(path));
        self.inputs
    }
}

impl World for Recorder<'_> {
    type File = File;

    fn open(&mut self, path: &CStr) -> Result<File, Errno> {
        match sys::open(path).and_then(|file| file.full_status().map(|status| (file, status))) {
            Ok((file, status)) => {
                self.readable_by_all &= status.mode & READABLE_BY_ALL != 0;
                self.record(path, Some(status.stamp));
                Ok(file)
            }
            Err(errno) => {
                self.record(path, None);
                Err(errno)
            }
        }
    }

    fn identity(&mut self, file: &File) -> Result<(FileIdentity, u64), Errno> {
        file.status()
    }

    fn load(
        &mut self,
        file: File,
        identity: FileIdentity,
        _size: u64,
        name: CString,
        _origin: Origin,
    ) -> Result<Box<Object>, LoadError> {
        let bytes = self.contents(file)?;
        Ok(self.add(bytes, name, Some(identity))?)
    }

    fn unload(&mut self, object: Box<Object>) {
        let index = self.pool.index_of(&object);
        self.used.retain(|used| Some(*used) != index);
    }

    fn contents(&mut self, file: File) -> Result<Vec<u8>, Errno> {
        file.contents()
    }

    fn executable<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        self.asked_for_origin = true;
        let path = self.program.to_bytes();
        let length = path.len().min(buffer.len());
        buffer[..length].copy_from_slice(&path[..length]);
        Ok(&buffer[..length])
    }

    fn announce(&mut self, _name: &CStr, _path: &CStr, _start: Address) {}
}
