//! `morselctl build`: the loader's own phases, carried out ahead of time over files.
//!
//! Everything is read and relocated in memory of this process; no code of the inputs runs. Relocation happens twice, for two
//! bases: the words that differ are those which must be changed if the image cannot have its place.

use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use goblin::elf64::program_header::ProgramHeader;
use ld_morsel::bind::{Definition, Index, Lookup, Outline, Scope};
use ld_morsel::discover::{Discovery, Host, Search, Wishes, World};
use ld_morsel::elf::{Address, LoadBias, PAGE_SIZE, Vaddr};
use ld_morsel::host::{self, locate};
use ld_morsel::image::format::{Binding, BuildId, Interposed, LateRelocation};
use ld_morsel::image::{BASE_ALIGN, base_at, check};
use ld_morsel::program::{Object, ObjectId, Origin, Program};
use ld_morsel::relocate::{Relocated, Slots, relocate_ahead};
use ld_morsel::sys::{self, FileStamp};
use ld_morsel::tls;
use rustix::rand::{GetRandomFlags, getrandom};

use super::fused;
use super::world::{Part, Recorder, read_object};
use crate::elf_file::ElfFile;

/// From one base to the other. No part of it looks like another part.
const DISTANCE: u64 = 0x0123_4560_0000;

/// What the user says about the starts that the image is for.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// LD_LIBRARY_PATH of the programs
    #[arg(long, value_name = "DIRS")]
    pub library_path: Option<OsString>,
    /// LD_PRELOAD of the programs
    #[arg(long, value_name = "LIBRARIES")]
    pub preload: Option<OsString>,
    /// LD_MORSEL_LIBC of the programs
    #[arg(long, value_name = "LIBC")]
    pub libc: Option<OsString>,
}

/// What has been built, not yet written.
pub struct Built {
    /// All objects, where they will be.
    pub program: Program,
    /// What has been read of the files.
    pub world: Recorder,
    /// The image's base.
    pub base: u64,
    /// The loader's build ID.
    pub loader: BuildId,
    /// The program's file.
    pub file: FileStamp,
    /// What tells it from other programs in memory.
    pub fingerprint: u64,
    /// What the process must relocate itself.
    pub late: Vec<LateRelocation>,
    /// What libc must bind to.
    pub interposed: Vec<Interposed<'static>>,
    /// The words that hold addresses of the image, counted from its base, ascending.
    pub rebase: Vec<u64>,
    /// `--library-path`, `--preload` and `--libc`.
    pub wishes: [Option<&'static CStr>; 3],
    /// The program's path.
    pub path: CString,
}

/// Builds the image of a program.
///
/// # Errors
/// The program cannot have one, or would not start; why.
pub fn build(path: &Path, circumstances: &Circumstances) -> Result<Built> {
    let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
    let built = build_at(&path, circumstances, base_at(random()?));
    built.with_context(|| path.display().to_string())
}

fn build_at(path: &Path, circumstances: &Circumstances, base: u64) -> Result<Built> {
    let program_path = CString::new(path.as_os_str().as_bytes())?;
    let file = sys::file_status(&program_path).map_err(|errno| told(sys::errno_text(errno)))?;
    let (program, part) = read_program(path)?;
    let content = |header: &ProgramHeader| program.view.bytes(Vaddr(header.p_vaddr), header.p_filesz);
    let fingerprint = check::fingerprint(&part.header_table, content);
    let interpreter: &'static CStr = program.interpreter().context("it names no interpreter")?;
    let mut world = Recorder::new(base, PAGE_SIZE, program_path.clone());
    world.readable_by_all &= file.mode & 0o004 != 0;
    let Loader { object: loader, build_id, libc: fused } = read_loader(interpreter, &mut world)?;

    let wishes = [&circumstances.library_path, &circumstances.preload, &circumstances.libc].map(leak);
    let [library_path, preload, chosen] = wishes;
    let is_fused = fused.is_some();
    let fused = || fused.map(Ok);
    let libc = locate::libc(&mut world, chosen, fused, None, Some(interpreter)).map_err(told)?;
    let libc = libc.context("no libc was found")?;
    let mut search =
        Search::new(Some(Host { loader, libc }), Wishes { interpreter, library_path, secure: false });
    let mut objects = Program::default();
    objects.add(program);
    let mut program = objects;
    let errors = Discovery::new(&mut world, &mut program, &mut search).start(preload);
    refuse(errors)?;
    if is_fused && !program.objects().any(|object| object.origin == Origin::File) {
        bail!("it has no libraries: its loader, which is fused with libc, starts it faster without an image");
    }
    tls::lay_out(&mut program, None);
    check_objects(&program, &world)?;

    let mut scratch = [part.memory, part.moved];
    let relocated = relocate(&program, &mut world, &mut scratch[0], 0);
    refuse(relocated.errors)?;
    let libc = program.libc().context("the program does not use a libc")?;
    let scope = Scope::new(&program);
    let interposed = host::exports(&program[libc], &scope);
    let interposed = interposed
        .iter()
        .map(|(name, definition)| Interposed { name: name.bytes(), binding: binding(definition) });
    let interposed = interposed.collect();
    let late = relocated.late.iter().map(|late| LateRelocation {
        object: late.object.0,
        relocation: late.relocation,
        binding: late.definition.as_ref().map(binding),
    });
    let late = late.collect();

    move_all(&mut program, DISTANCE);
    let moved = relocate(&program, &mut world, &mut scratch[1], DISTANCE);
    refuse(moved.errors)?;
    move_all(&mut program, DISTANCE.wrapping_neg());
    let rebase = differences(&program, &mut world, base)?;
    let loader = build_id;
    let (file, path) = (file.stamp, program_path);
    Ok(Built { program, world, base, loader, file, fingerprint, late, interposed, rebase, wishes, path })
}

/// The program, at an address of no meaning.
pub fn read_program(path: &Path) -> Result<(Box<Object>, Part)> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let bytes = fs::read(path)?;
    let read = read_object(&bytes, name, Origin::Kernel, None, |plan| match plan.span.start {
        Vaddr(0) => LoadBias(0x5555_5555_0000),
        _ => LoadBias(0),
    });
    Ok(read?)
}

/// The build ID of a program's loader.
///
/// # Errors
/// The program or its loader cannot be read, or is none.
pub fn loader_of(program: &Path) -> Result<BuildId> {
    let read = || -> Result<BuildId> {
        let (object, _) = read_program(program)?;
        let interpreter = object.interpreter().context("it names no interpreter")?;
        Ok(read_loader(interpreter, &mut Recorder::new(0, PAGE_SIZE, CString::default()))?.build_id)
    };
    read().with_context(|| program.display().to_string())
}

/// A random number.
fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    // So few bytes come whole. There need not be a /dev where a package manager's script runs.
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|errno| told(sys::errno_text(errno)))?;
    Ok(u64::from_le_bytes(bytes))
}

/// A string for the life of this process, as the loader's configuration is.
pub fn leak(text: &Option<OsString>) -> Option<&'static CStr> {
    let text = CString::new(text.as_ref()?.as_bytes()).ok()?;
    Some(Box::leak(text.into_boxed_c_str()))
}

pub fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// What would keep the program from starting keeps it from having an image.
fn refuse(errors: Vec<ld_morsel::error::StartError>) -> Result<()> {
    match errors.first() {
        None => Ok(()),
        Some(first) => bail!("it would not start: {first}"),
    }
}

/// The loader that the program names, and what is fused with it.
pub struct Loader {
    /// The loader itself.
    pub object: Box<Object>,
    /// Which build it is.
    pub build_id: BuildId,
    /// The libc that is in the same file.
    pub libc: Option<Box<Object>>,
}

pub fn read_loader(path: &CStr, world: &mut Recorder) -> Result<Loader> {
    let shown = PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()));
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
            (Some(world.place(&libc, path.into(), None)?), own)
        }
    };
    let (object, part) = read_object(&own, c"ld-morsel".into(), Origin::Loader, None, anywhere)?;
    let content = |header: &ProgramHeader| {
        let start = usize::try_from(header.p_vaddr).ok()?;
        part.memory.get(start..start + usize::try_from(header.p_filesz).ok()?)
    };
    let build_id = check::build_id(&part.header_table, content);
    let build_id = build_id.with_context(|| format!("{} has no build ID", shown.display()))?;
    Ok(Loader { object, build_id, libc })
}

/// What an image cannot hold.
fn check_objects(program: &Program, world: &Recorder) -> Result<()> {
    if let Some(path) = &world.relative {
        bail!("{path:?} depends on the current directory");
    }
    for object in program.objects() {
        let name = object.name.to_string_lossy();
        let in_image = matches!(object.origin, Origin::File | Origin::Libc);
        if in_image && object.dynamic.text_relocations {
            bail!("{name} has relocations in its code (DT_TEXTREL)");
        }
        if in_image && object.segments.span().start != Vaddr(0) {
            bail!("{name} is linked for a fixed address");
        }
        let most = if in_image { BASE_ALIGN } else { PAGE_SIZE };
        if object.segments.tls.is_some_and(|tls| tls.align > most) {
            bail!("{name} has thread-local storage that is aligned to more than {most} bytes");
        }
    }
    Ok(())
}

/// Relocates everything, which lies `moved` bytes from where the image will be.
fn relocate(program: &Program, world: &mut Recorder, scratch: &mut [u8], moved: u64) -> Relocated {
    let scope = Scope::new(program);
    let outline = Outline::worthwhile(scope.first().entries());
    let mut words = vec![0; outline.as_ref().map_or(0, Outline::words)];
    let index = outline.as_ref().map(|outline| Index::new(outline, &mut words));
    let lookup = Lookup { index, ..Lookup::in_global(&scope) };
    let order = program.ids().skip(1).chain([ObjectId::PROGRAM]);
    let slots = |_, object: &Object| {
        let start = object.mapping.pages.start;
        let bytes = match object.origin {
            Origin::Kernel => &mut *scratch,
            _ => {
                let part = world.part_at(Address(start.0.wrapping_sub(moved)));
                let part = part.expect("every library has been read");
                if moved == 0 { &mut part.memory } else { &mut part.moved }
            }
        };
        let start = object.mapping.bias.unapply(start);
        Slots::elsewhere(object, LoadBias::between(Address(bytes.as_mut_ptr() as u64), start))
    };
    // SAFETY: each object's memory is as long as its span, and nothing else refers to it meanwhile: what the model sees of
    // the objects is another copy.
    unsafe { relocate_ahead(program, lookup, order, slots) }
}

/// Moves all that is in the image.
fn move_all(program: &mut Program, distance: u64) {
    for id in program.ids() {
        let object = &mut program[id];
        if matches!(object.origin, Origin::File | Origin::Libc) {
            let mapping = &mut object.mapping;
            mapping.bias.0 = mapping.bias.0.wrapping_add(distance);
            let pages =
                mapping.pages.start.0.wrapping_add(distance)..mapping.pages.end.0.wrapping_add(distance);
            mapping.pages = Address(pages.start)..Address(pages.end);
        }
    }
}

/// The words that depend on the base.
fn differences(program: &Program, world: &mut Recorder, base: u64) -> Result<Vec<u64>> {
    let mut rebase = Vec::new();
    for part in &world.parts {
        let start = part.start.0 - base;
        let words = part.memory.as_chunks::<8>().0.iter().zip(part.moved.as_chunks::<8>().0);
        for (place, (here, there)) in
            (start..).step_by(8).zip(words).filter(|(_, (here, there))| here != there)
        {
            let (here, there) = (u64::from_le_bytes(*here), u64::from_le_bytes(*there));
            if there.wrapping_sub(here) != DISTANCE {
                let object = program.objects().find(|object| object.mapping.pages.start == part.start);
                let name = object.map_or_else(Default::default, |object| object.name.to_string_lossy());
                bail!("{name} has an address at {:#x} that is not a whole, aligned word", place - start);
            }
            rebase.push(place);
        }
    }
    rebase.sort_unstable();
    Ok(rebase)
}

fn binding(definition: &Definition) -> Binding {
    let symbol = &definition.symbol;
    Binding {
        object: definition.object.0,
        value: symbol.value,
        size: symbol.size,
        info: symbol.info(),
        section: symbol.section(),
    }
}
