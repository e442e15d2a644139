//! What a build reads besides libraries: the program, and the loader that it names.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ld_morsel::discover::World;
use ld_morsel::elf::{LoadBias, Vaddr};
use ld_morsel::image::check;
use ld_morsel::image::format::BuildId;
use ld_morsel::program::{Object, Origin};
use ld_morsel::sys;

use super::build::told;
use super::fused;
use super::library::{Library, content, read_object};
use super::world::{Pool, Recorder};
use crate::elf_file::ElfFile;

/// The program, at an address of no meaning.
pub fn read_program(path: &Path) -> Result<(Box<Object>, Library)> {
    program_from(path, &fs::read(path)?)
}

/// The same, if what is in its file is known already.
pub fn program_from(path: &Path, bytes: &[u8]) -> Result<(Box<Object>, Library)> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let read = read_object(bytes, name, Origin::Kernel, None, |plan| match plan.span.start {
        Vaddr(0) => LoadBias(0x5555_5555_0000),
        _ => LoadBias(0),
    });
    let (object, mut own) = read?;
    own.place = own.plan.span.start.0.wrapping_neg();
    Ok((object, own))
}

/// The build ID of a program's loader.
///
/// # Errors
/// The program or its loader cannot be read, or is none.
pub fn loader_of(program: &Path) -> Result<BuildId> {
    let read = || -> Result<BuildId> {
        let (object, _) = read_program(program)?;
        let interpreter = object.interpreter().context("it names no interpreter")?;
        let mut pool = Pool::default();
        Ok(read_loader(interpreter, &mut Recorder::new(&mut pool, CString::default()))?.build_id)
    };
    read().with_context(|| program.display().to_string())
}

/// The loader that the program names, and what is fused with it.
pub struct Loader {
    /// The loader itself.
    pub object: Box<Object>,
    /// Which build it is.
    pub build_id: BuildId,
    /// The libc that is in the same file.
    pub libc: Option<Box<Object>>,
    /// What is in its file.
    pub bytes: Vec<u8>,
}

pub fn read_loader(path: &CStr, world: &mut Recorder<'_>) -> Result<Loader> {
    let shown = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
    let (file, _) = ElfFile::read(&shown)?;
    let note = file.morsel_note();
    let note = note.with_context(|| format!("its interpreter {} is not ld-morsel", shown.display()))?;
    // Where the kernel puts it is not known: nothing of the image may depend on it.
    let anywhere = |_: &_| LoadBias(0x7fff_0000_0000);
    let (libc, own) = match note.distance {
        0 => (None, file.bytes.clone()),
        distance => {
            // The build ID tells of the loader alone.
            world.open(path).map_err(|errno| told(sys::errno_text(errno)))?;
            let (libc, own) = fused::take_apart(&file, distance)?;
            (Some(world.add(libc, path.into(), None)?), own)
        }
    };
    let (object, read) = read_object(&own, c"ld-morsel".into(), Origin::Loader, None, anywhere)?;
    let build_id = check::build_id(&read.header_table, |header| content(&read.units, header));
    let build_id = build_id.with_context(|| format!("{} has no build ID", shown.display()))?;
    Ok(Loader { object, build_id, libc, bytes: file.bytes })
}
