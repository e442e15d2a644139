//! `morselctl build`: the loader's own phases, carried out ahead of time over files.
//!
//! Everything is read and relocated in memory of this process; no code of the inputs runs. First each program's libraries are
//! found (`world`), then all of them get their places (`layout`), then each program is bound and relocated. That happens
//! twice, for two bases: the words that differ are those which must be changed if the image cannot have its place.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ld_morsel::bind::{Definition, Index, Lookup, Outline, Scope};
use ld_morsel::discover::{Discovery, Host, Search, Wishes, World};
use ld_morsel::elf::{LoadBias, PAGE_SIZE, Vaddr};
use ld_morsel::host::{self, locate};
use ld_morsel::image::format::{Binding, BuildId, Input, Interposed, LateRelocation, MAX_PROGRAMS, Populate};
use ld_morsel::image::{BASE_ALIGN, base_at, check};
use ld_morsel::program::{Object, ObjectId, Origin, Program};
use ld_morsel::relocate::{Relocated, Slots, relocate_ahead};
use ld_morsel::sys::{self, FileStamp};
use ld_morsel::tls;
use rustix::rand::{GetRandomFlags, getrandom};

use super::buffer::Buffer;
use super::fused;
use super::layout::{self, Layout};
use super::library::{Library, content, move_object, read_object};
use super::passes::{Choice, Passes};
use super::world::{Pool, Recorder};
use crate::elf_file::ElfFile;

/// From one base to the other. No part of it looks like another part.
const DISTANCE: u64 = 0x0123_4560_0000;

/// What the user says about an image: under which circumstances programs start that it is for, and what is done with it.
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
    /// The passes to run: NAME or NAME=VALUE, with commas between; `none`; `default`
    #[arg(long, value_name = "PASSES", default_value_t)]
    pub passes: Choice,
}

/// What has been built, not yet written.
pub struct Built {
    /// The image's base.
    pub base: u64,
    /// The loader's build ID.
    pub loader: BuildId,
    /// `--library-path`, `--preload` and `--libc`.
    pub wishes: [Option<&'static CStr>; 3],
    /// Which passes have run.
    pub passes: CString,
    /// What they say about it.
    pub report: Vec<String>,
    /// The libraries of all programs, in their places.
    pub libraries: Vec<Library>,
    /// The pages that they take.
    pub layout: Layout,
    /// The programs.
    pub programs: Vec<Served>,
}

/// A program that the image serves.
pub struct Served {
    /// All objects of the process, where they will be.
    pub program: Program,
    /// For each object, which library it is, if any.
    pub libraries: Vec<Option<usize>>,
    /// The program's file.
    pub file: FileStamp,
    /// The program's path.
    pub path: CString,
    /// What tells it from other programs in memory.
    pub fingerprint: u64,
    /// All paths that were tried, with what was there.
    pub inputs: Vec<(CString, Option<FileStamp>)>,
    /// `$ORIGIN` has been asked for.
    pub asked_for_origin: bool,
    /// All files may be read by everybody.
    pub readable_by_all: bool,
    /// Its libraries' pages after relocation, at their places.
    pub memory: Buffer,
    /// What the process must relocate itself.
    pub late: Vec<LateRelocation>,
    /// What starts touch.
    pub populate: Vec<Populate>,
    /// What libc must bind to.
    pub interposed: Vec<Interposed<'static>>,
    /// The words that hold addresses of the image, counted from its base, ascending.
    pub rebase: Vec<u64>,
}

impl Served {
    /// The paths that were tried, as the tables have them.
    pub fn inputs(&self) -> Vec<Input<'_>> {
        self.inputs.iter().map(|(path, stamp)| Input { path, stamp: *stamp }).collect()
    }
}

/// A program whose libraries are known.
struct Found {
    program: Program,
    own: Library,
    loader: BuildId,
    served: Served,
}

/// Builds an image for programs.
///
/// # Errors
/// A program cannot have one, or would not start; why.
pub fn build(paths: &[PathBuf], circumstances: &Circumstances) -> Result<Built> {
    if paths.len() > MAX_PROGRAMS {
        bail!("an image can serve {MAX_PROGRAMS} programs, not {}", paths.len());
    }
    let wishes = [&circumstances.library_path, &circumstances.preload, &circumstances.libc].map(leak);
    let base = base_at(random()?);
    let mut pool = Pool { passes: Passes::new(&circumstances.passes)?, ..Pool::default() };
    let mut found = Vec::new();
    for path in paths {
        let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
        found.push(find(&path, wishes, &mut pool).with_context(|| path.display().to_string())?);
    }
    let loader = found.first().context("no program")?.loader;
    if let Some(other) = found.iter().find(|found| found.loader != loader) {
        bail!("{}: its loader is not that of the other programs", other.served.path.to_string_lossy());
    }
    let Pool { mut libraries, mut passes } = pool;
    let used: HashSet<usize> =
        found.iter().flat_map(|found| found.served.libraries.iter().flatten().copied()).collect();
    for (index, library) in libraries.iter_mut().enumerate() {
        if !used.contains(&index) {
            library.units.clear();
        }
    }
    let arrangement = passes.arrange(&libraries)?;
    let layout = layout::lay_out(&mut libraries, &arrangement, layout::class)?;
    let mut programs = Vec::new();
    for found in found {
        let path = found.served.path.clone();
        let bound = bind(found, &libraries, base, &layout.windows);
        programs.push(bound.with_context(|| path.to_string_lossy().into_owned())?);
    }
    let report = Vec::new();
    let chosen = CString::new(circumstances.passes.to_string())?;
    let mut built = Built { base, loader, wishes, passes: chosen, report, libraries, layout, programs };
    passes.change(&mut built)?;
    built.report = passes.report();
    Ok(built)
}

/// Finds a program's libraries.
fn find(path: &Path, wishes: [Option<&'static CStr>; 3], pool: &mut Pool) -> Result<Found> {
    let program_path = CString::new(path.as_os_str().as_bytes())?;
    let file = sys::file_status(&program_path).map_err(|errno| told(sys::errno_text(errno)))?;
    let bytes = fs::read(path)?;
    pool.passes.look_at(&program_path, &bytes)?;
    let (program, own) = program_of(path, &bytes)?;
    let fingerprint = check::fingerprint(&own.header_table, |header| content(&own.units, header));
    let interpreter: &'static CStr = program.interpreter().context("it names no interpreter")?;
    let mut world = Recorder::new(pool, program_path.clone());
    world.readable_by_all &= file.mode & 0o004 != 0;
    let Loader { object: loader, build_id, libc: fused } = read_loader(interpreter, &mut world)?;

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
    if let Some(error) = world.refused.take() {
        return Err(error);
    }
    if let Some(path) = &world.relative {
        bail!("{path:?} depends on the current directory");
    }
    tls::lay_out(&mut program, None);
    check_objects(&program)?;
    let libraries = program.objects().map(|object| world.index_of(object)).collect();
    let served = Served {
        program: Program::default(),
        libraries,
        file: file.stamp,
        path: program_path,
        fingerprint,
        asked_for_origin: world.asked_for_origin,
        readable_by_all: world.readable_by_all,
        inputs: world.into_inputs(),
        memory: Buffer::new(0)?,
        late: Vec::new(),
        populate: Vec::new(),
        interposed: Vec::new(),
        rebase: Vec::new(),
    };
    Ok(Found { program, own, loader: build_id, served })
}

/// Binds and relocates a program whose libraries have their places.
fn bind(found: Found, libraries: &[Library], base: u64, windows: &[Range<u64>]) -> Result<Served> {
    let Found { mut program, own, mut served, .. } = found;
    let size = windows.last().map_or(0, |window| window.end).next_multiple_of(layout::HUGE_PAGE);
    let pages = served.libraries.clone();
    let place_at = |program: &mut Program, base: u64| {
        for (id, library) in program.ids().zip(&pages) {
            if let Some(library) = library {
                move_object(&mut program[id], LoadBias(base.wrapping_add(libraries[*library].place)));
            }
        }
    };
    let relocate = |program: &Program| -> Result<(Buffer, Relocated)> {
        let mut memory = filled(size, pages.iter().flatten().map(|&library| &libraries[library]))?;
        let mut scratch = filled(own.plan.length(), [&own])?;
        let start = |id: ObjectId| match pages[id.index()] {
            Some(library) => memory.address().wrapping_add(libraries[library].place),
            None => scratch.address().wrapping_add(own.place),
        };
        let done = relocate(program, start);
        Ok((memory, done))
    };
    place_at(&mut program, base.wrapping_add(DISTANCE));
    let (moved, done) = relocate(&program)?;
    refuse(done.errors)?;
    place_at(&mut program, base);
    let (memory, done) = relocate(&program)?;
    refuse(done.errors)?;

    let libc = program.libc().context("the program does not use a libc")?;
    let scope = Scope::new(&program);
    let interposed = host::exports(&program[libc], &scope);
    let interposed = interposed
        .iter()
        .map(|(name, definition)| Interposed { name: name.bytes(), binding: binding(definition) });
    served.interposed = interposed.collect();
    let late = done.late.iter().map(|late| LateRelocation {
        object: late.object.0,
        relocation: late.relocation,
        binding: late.definition.as_ref().map(binding),
    });
    served.late = late.collect();
    for &library in pages.iter().flatten() {
        differences(&libraries[library], &memory, &moved, &mut served.rebase)?;
    }
    served.rebase.sort_unstable();
    (served.program, served.memory) = (program, memory);
    Ok(served)
}

/// Memory with the pages of libraries at their places.
fn filled<'a>(size: u64, libraries: impl IntoIterator<Item = &'a Library>) -> Result<Buffer> {
    let mut memory = Buffer::new(size)?;
    for library in libraries {
        for unit in &library.units {
            memory.at_mut(&library.placed(&unit.pages)).copy_from_slice(unit.bytes);
        }
    }
    Ok(memory)
}

/// The program, at an address of no meaning.
pub fn read_program(path: &Path) -> Result<(Box<Object>, Library)> {
    program_of(path, &fs::read(path)?)
}

fn program_of(path: &Path, bytes: &[u8]) -> Result<(Box<Object>, Library)> {
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

pub fn read_loader(path: &CStr, world: &mut Recorder<'_>) -> Result<Loader> {
    let shown = PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let (file, _) = ElfFile::read(&shown)?;
    world.look_at(path, &file.bytes).with_context(|| shown.display().to_string())?;
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
    Ok(Loader { object, build_id, libc })
}

/// What an image cannot hold.
fn check_objects(program: &Program) -> Result<()> {
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

/// Relocates everything; `start` says where an object's link-time address 0 is in memory of this process.
fn relocate(program: &Program, mut start: impl FnMut(ObjectId) -> u64) -> Relocated {
    let scope = Scope::new(program);
    let outline = Outline::worthwhile(scope.first().entries());
    let mut words = vec![0; outline.as_ref().map_or(0, Outline::words)];
    let index = outline.as_ref().map(|outline| Index::new(outline, &mut words));
    let lookup = Lookup { index, ..Lookup::in_global(&scope) };
    let order = program.ids().skip(1).chain([ObjectId::PROGRAM]);
    let slots = |id, object: &Object| Slots::elsewhere(object, LoadBias(start(id)));
    // SAFETY: each object's memory is as long as its span, and nothing else refers to it meanwhile: what the model sees of
    // the objects is another copy.
    unsafe { relocate_ahead(program, lookup, order, slots) }
}

/// Adds the words of a library that depend on the base.
fn differences(library: &Library, memory: &Buffer, moved: &Buffer, rebase: &mut Vec<u64>) -> Result<()> {
    for unit in &library.units {
        let pages = library.placed(&unit.pages);
        let (here, there) = (memory.at(&pages).as_chunks::<8>().0, moved.at(&pages).as_chunks::<8>().0);
        for (place, (here, there)) in
            (pages.start..).step_by(8).zip(here.iter().zip(there)).filter(|(_, (here, there))| here != there)
        {
            let (here, there) = (u64::from_le_bytes(*here), u64::from_le_bytes(*there));
            if there.wrapping_sub(here) != DISTANCE {
                let (name, vaddr) = (library.name.to_string_lossy(), place.wrapping_sub(library.place));
                bail!("{name} has an address at {vaddr:#x} that is not a whole, aligned word");
            }
            rebase.push(place);
        }
    }
    Ok(())
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
