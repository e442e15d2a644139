//! Discovery that remembers where it has looked.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::path::Path;

use anyhow::{Context, Result};
use ld_morsel::discover::{Discovery, Host, Search, Wishes, World, search};
use ld_morsel::elf::Address;
use ld_morsel::error::{LoadError, StartError};
use ld_morsel::host::locate;
use ld_morsel::program::{Object, Origin, Program};
use ld_morsel::sys::{Errno, File, FileIdentity};

use crate::elf_file::ElfFile;
use crate::fuse::LoaderArgs;
use crate::image::{self, Circumstances, Loader, Pool, Recorder, leak, told};

/// A path at which nothing usable was.
#[derive(Clone, Debug)]
pub struct Miss {
    /// The path.
    pub path: CString,
    /// What the system said.
    pub errno: Errno,
}

/// A program with all that it needs.
pub struct Discovered {
    /// All objects, in load order.
    pub program: Program,
    /// What could not be loaded.
    pub errors: Vec<StartError>,
    /// Where each file name was looked for in vain.
    pub misses: HashMap<Vec<u8>, Vec<Miss>>,
}

/// The files, and what was opened.
struct Tracer<'a> {
    files: Recorder<'a>,
    misses: HashMap<Vec<u8>, Vec<Miss>>,
}

/// Finds what a program or library needs, as its loader would. If that is not ld-morsel, `loader` says which one takes its place.
///
/// # Errors
/// The program, the loader or libc cannot be read.
pub fn discover(path: &Path, circumstances: &Circumstances, loader: &LoaderArgs) -> Result<Discovered> {
    let path = std::fs::canonicalize(path).with_context(|| path.display().to_string())?;
    let discovered = discover_at(&path, circumstances, loader);
    discovered.with_context(|| path.display().to_string())
}

fn discover_at(path: &Path, circumstances: &Circumstances, loader: &LoaderArgs) -> Result<Discovered> {
    let (object, _) = image::read_program(path)?;
    let named = object.interpreter();
    let mut pool = Pool::default();
    let files = Recorder::new(&mut pool, image::c_path(path)?);
    let mut tracer = Tracer { files, misses: HashMap::new() };
    let own = named.filter(|&named| {
        ElfFile::read(image::path_of(named)).is_ok_and(|(file, _)| file.morsel_note().is_some())
    });
    let loader = match own {
        Some(own) => image::read_loader(own, &mut tracer.files)?,
        // What may be fused with it is not what the program would use.
        None => {
            Loader { libc: None, ..image::read_loader(&image::c_path(&loader.path()?)?, &mut tracer.files)? }
        }
    };
    let [library_path, preload, chosen] =
        [&circumstances.library_path, &circumstances.preload, &circumstances.libc].map(leak);
    let fused = loader.libc;
    let other = named.filter(|_| own.is_none());
    let libc = locate::libc(&mut tracer, chosen, || fused.map(Ok), other, own).map_err(told)?;
    let libc = libc.context("no libc was found")?;
    let interpreter = named.unwrap_or(c"/lib/ld-musl-x86_64.so.1");
    let wishes = Wishes { interpreter, library_path, secure: false };
    let mut search = Search::new(Some(Host { loader: loader.object, libc }), wishes);
    let mut program = Program::default();
    program.add(object);
    let errors = Discovery::new(&mut tracer, &mut program, &mut search).start(preload);
    Ok(Discovered { program, errors, misses: tracer.misses })
}

impl World for Tracer<'_> {
    type File = File;

    fn open(&mut self, path: &CStr) -> Result<File, Errno> {
        self.files.open(path).inspect_err(|&errno| {
            let misses = self.misses.entry(search::file_name(path).to_vec()).or_default();
            if misses.iter().all(|miss| miss.path.as_c_str() != path) {
                misses.push(Miss { path: path.into(), errno });
            }
        })
    }

    fn identity(&mut self, file: &File) -> Result<(FileIdentity, u64), Errno> {
        self.files.identity(file)
    }

    fn load(
        &mut self,
        file: File,
        identity: FileIdentity,
        size: u64,
        name: CString,
        origin: Origin,
    ) -> Result<Box<Object>, LoadError> {
        self.files.load(file, identity, size, name, origin)
    }

    fn unload(&mut self, object: Box<Object>) {
        self.files.unload(object);
    }

    fn contents(&mut self, file: File) -> Result<Vec<u8>, Errno> {
        self.files.contents(file)
    }

    fn executable<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        self.files.executable(buffer)
    }

    fn announce(&mut self, _name: &CStr, _path: &CStr, _start: Address) {}
}
