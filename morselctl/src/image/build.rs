//! `morselctl build`: the loader's own phases, carried out ahead of time over files.
//!
//! Everything is read and relocated in memory of this process; no code of the inputs runs. First each program's libraries are
//! found (`world`), then all of them get their places (`layout`), then each program is bound and relocated. That happens
//! twice, for two bases: the words that differ are those which must be changed if the image cannot have its place.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ld_morsel::bind::{Definition, Index, Lookup, Outline, Scope};
use ld_morsel::discover::{Discovery, Host, Search, Wishes};
use ld_morsel::elf::{LoadBias, PAGE_SIZE, Vaddr};
use ld_morsel::host::{self, locate};
use ld_morsel::image::format::{
    Binding, BuildId, Digest, Input, Interposed, LateRelocation, MAX_PROGRAMS, Populate,
};
use ld_morsel::image::references::Collector;
use ld_morsel::image::{BASE_ALIGN, base_at, check, file_name, portable, portable_name};
use ld_morsel::program::{Object, ObjectId, Origin, Program};
use ld_morsel::relocate::{Relocated, Slots, relocate_ahead};
use ld_morsel::sys::{self, FileIdentity, FileStamp};
use ld_morsel::tls;
use rustix::rand::{GetRandomFlags, getrandom};

use super::buffer::Buffer;
use super::inputs::{Loader, program_from, read_loader};
use super::layout::{self, Layout};
use super::library::{InputFile, Library, content, move_object, read_anew};
use super::passes::{Choice, Passes};
use super::world::{Pool, Recorder};

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
    /// The image is for other machines, too: its inputs are known by their contents.
    #[arg(skip)]
    pub portable: bool,
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
    /// The libraries whose code is not that of their files.
    pub rewritten: Vec<Rewritten>,
}

/// A library some of whose calls lead straight to their targets.
pub struct Rewritten {
    /// Which.
    pub library: usize,
    /// The functions that it calls so.
    pub symbols: BTreeSet<Vec<u8>>,
    /// The pages that have changed, at link-time addresses.
    pub pages: Vec<Range<Vaddr>>,
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
    /// What is in the program and in the inputs that were there, if the image is portable.
    pub digests: Vec<Digest>,
    /// What the process must relocate itself.
    pub late: Vec<LateRelocation>,
    /// What starts touch.
    pub populate: Vec<Populate>,
    /// What libc must bind to.
    pub interposed: Vec<Interposed<'static>>,
    /// What refers to names, if the process can have further objects.
    pub references: Option<Vec<u8>>,
    /// The words that hold addresses of the image, counted from its base, ascending.
    pub rebase: Vec<u64>,
}

impl Served {
    /// The paths that were tried, as the tables have them.
    pub fn inputs(&self) -> Vec<Input<'_>> {
        let inputs =
            self.inputs.iter().map(|(path, stamp)| Input { path, stamp: *stamp, has_neighbours: false });
        let mut inputs: Vec<_> = inputs.collect();
        check::mark_neighbours(&mut inputs);
        inputs
    }

    /// The name of its image.
    pub fn name(&self) -> OsString {
        match self.digests.is_empty() {
            true => file_name(self.file.identity).into(),
            false => OsString::from_vec(portable_name(self.path.to_bytes())),
        }
    }

    /// What stands for it in the image's header.
    pub fn header_identity(&self) -> FileIdentity {
        match self.digests.is_empty() {
            true => self.file.identity,
            false => portable::identity(self.fingerprint),
        }
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
    let mut passes = Passes::new(&circumstances.passes)?;
    let mut pool = Pool::default();
    let mut found = Vec::new();
    for path in paths {
        let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
        let program = find(&path, wishes, &mut pool, &mut passes);
        found.push(program.with_context(|| path.display().to_string())?);
    }
    let loader = found.first().context("no program")?.loader;
    if let Some(other) = found.iter().find(|found| found.loader != loader) {
        bail!("{}: its loader is not that of the other programs", other.served.path.to_string_lossy());
    }
    let Pool { mut libraries, files } = pool;
    let used: HashSet<usize> =
        found.iter().flat_map(|found| found.served.libraries.iter().flatten().copied()).collect();
    for (index, library) in libraries.iter_mut().enumerate() {
        if !used.contains(&index) {
            library.units.clear();
        }
    }
    let files = files.into_iter().filter(|file| used.contains(&file.library)).collect();
    let order = look_at(files, &mut passes, &mut found, &mut libraries)?;
    let arrangement = passes.arrange(&libraries, order)?;
    let layout = layout::lay_out(&mut libraries, &arrangement, layout::class)?;
    let mut programs = Vec::new();
    for found in found {
        let path = found.served.path.clone();
        let bound = bind(found, &libraries, base, &layout.windows);
        let mut served = bound.with_context(|| path.to_string_lossy().into_owned())?;
        if circumstances.portable {
            served.digests = digests(&served)?;
        }
        programs.push(served);
    }
    let report = Vec::new();
    let chosen = CString::new(circumstances.passes.to_string())?;
    let rewritten = Vec::new();
    let mut built =
        Built { base, loader, wishes, passes: chosen, report, libraries, layout, programs, rewritten };
    passes.change(&mut built)?;
    built.report = passes.report();
    Ok(built)
}

/// Lets the passes look at the files of all libraries, and reads anew what they change. Returns in which order they have put them.
fn look_at(
    mut files: Vec<InputFile>,
    passes: &mut Passes,
    found: &mut [Found],
    libraries: &mut [Library],
) -> Result<Vec<usize>> {
    let objects = |found: &Found| {
        let libraries = found.program.iter().zip(&found.served.libraries);
        libraries.filter_map(|((id, object), library)| Some((id, object.is_libc(), (*library)?))).collect()
    };
    let objects: Vec<Vec<(ObjectId, bool, usize)>> = found.iter().map(objects).collect();
    for file in &mut files {
        file.is_libc =
            objects.iter().flatten().any(|(_, is_libc, library)| *is_libc && *library == file.library);
    }
    passes.read_all(&mut files)?;
    for (file, shift) in files.iter().filter_map(|file| Some((file, file.changed()?))) {
        for (found, objects) in found.iter_mut().zip(&objects) {
            for (id, ..) in objects.iter().filter(|(.., library)| *library == file.library) {
                let library = read_anew(&mut found.program[*id], &file.bytes, shift);
                libraries[file.library] =
                    library.with_context(|| file.name.to_string_lossy().into_owned())?;
            }
        }
    }
    Ok(files.iter().map(|file| file.library).collect())
}

/// Finds a program's libraries.
fn find(
    path: &Path,
    wishes: [Option<&'static CStr>; 3],
    pool: &mut Pool,
    passes: &mut Passes,
) -> Result<Found> {
    let program_path = CString::new(path.as_os_str().as_bytes())?;
    let file = sys::file_status(&program_path).map_err(|errno| told(sys::errno_text(errno)))?;
    let bytes = fs::read(path)?;
    passes.look_at(&program_path, &bytes)?;
    let (program, own) = program_from(path, &bytes)?;
    let fingerprint = check::fingerprint(&own.header_table, |header| content(&own.units, header));
    let interpreter: &'static CStr = program.interpreter().context("it names no interpreter")?;
    let mut world = Recorder::new(pool, program_path.clone());
    world.readable_by_all &= file.mode & 0o004 != 0;
    let Loader { object: loader, build_id, libc: fused, bytes } = read_loader(interpreter, &mut world)?;
    passes.look_at(interpreter, &bytes).with_context(|| interpreter.to_string_lossy().into_owned())?;

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
    if let Some(path) = &world.relative {
        bail!("{path:?} depends on the current directory");
    }
    let order = program.ids();
    tls::lay_out(&mut program, order, None);
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
        digests: Vec::new(),
        late: Vec::new(),
        populate: Vec::new(),
        interposed: Vec::new(),
        references: None,
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
    served.references = references(&program);
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

/// What is in the program and in the inputs that were there.
fn digests(served: &Served) -> Result<Vec<Digest>> {
    let inputs = served.inputs.iter().filter(|(_, stamp)| stamp.is_some()).map(|(path, _)| path);
    let mut buffer = portable::buffer().map_err(|errno| told(sys::errno_text(errno)))?;
    let digests = [&served.path].into_iter().chain(inputs).map(|path| {
        let digest = sys::open(path).and_then(|file| portable::digest(&file, &mut buffer));
        digest.map_err(|errno| told(format_args!("{}: {}", path.to_string_lossy(), sys::errno_text(errno))))
    });
    digests.collect()
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

/// A random number.
pub fn random() -> Result<u64> {
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
    let outline = Outline::worthwhile(scope.first());
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

/// What refers to names, in all objects that the loader relocates. `None` if a relocation cannot be done twice.
fn references(program: &Program) -> Option<Vec<u8>> {
    let mut collector = Collector::default();
    for (id, object) in
        program.iter().filter(|(_, object)| matches!(object.origin, Origin::Kernel | Origin::File))
    {
        collector.add(id.0, object)?;
    }
    Some(collector.to_bytes())
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
