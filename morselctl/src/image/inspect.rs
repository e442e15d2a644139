//! Looking at images: what is in one (`inspect`), whether it may be used and why not (`verify`), and which there are
//! (`list`).

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ld_morsel::elf::{ObjectType, PAGE_SIZE, RelrSlots, Segments};
use ld_morsel::image::format::{
    Details, HEADER_AT, Header, Key, Member, ProgramEntry, Rewritten, Role, Source, Tables, VERSION,
    WindowPart,
};
use ld_morsel::image::{check, file_name, portable, portable_name};
use ld_morsel::layout::{PageClass, Plan};
use ld_morsel::sys;
use serde::Serialize;

use super::build::Circumstances;
use super::inputs;

/// A file that is an image, as the loader sees it.
pub struct ImageFile {
    path: PathBuf,
    pub(super) header: Header,
    pub(super) entries: Vec<ProgramEntry>,
    pub(super) bytes: Vec<u8>,
}

/// What `inspect` tells.
#[derive(Serialize)]
struct Description<'a> {
    path: &'a Path,
    base: u64,
    /// Bytes of the file.
    size: u64,
    loader_build_id: String,
    programs: Vec<Program>,
}

#[derive(Serialize)]
struct Program {
    library_path: Option<String>,
    preload: Option<String>,
    libc: Option<String>,
    passes: Option<String>,
    tables_size: u64,
    /// What is mapped.
    windows: usize,
    /// What is mapped in another way than the rest of its window.
    regions: usize,
    /// What is mapped at once, by so many calls.
    populated: usize,
    /// Words that are changed if the image cannot have its place.
    rebased_words: usize,
    late_relocations: usize,
    /// Paths that must not exist.
    missing: usize,
    members: Vec<Object>,
}

#[derive(Serialize)]
struct Object {
    name: String,
    role: &'static str,
    /// Bytes by what is done with the pages.
    text: u64,
    read_only: u64,
    /// Read-only after relocation, and shared.
    sealed: u64,
    data: u64,
    zero: u64,
    late_relocations: usize,
    /// They do nothing, and are not called.
    idle_constructors: bool,
    idle_destructors: bool,
}

impl ImageFile {
    /// Reads an image; `None` if the file is something else.
    ///
    /// # Errors
    /// It cannot be read, or is an image of another version, or cut off.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let Some(header) = bytes.get(HEADER_AT..).and_then(Header::parse) else { return Ok(None) };
        if header.version != VERSION {
            bail!("{}: format version {}, not {VERSION}", path.display(), header.version);
        }
        let damaged = || format!("{}: its header is damaged", path.display());
        let entries = header.entries(&bytes[HEADER_AT..]).with_context(damaged)?.collect();
        let file = Self { path: path.to_owned(), header, entries, bytes };
        if file.entries.iter().any(|entry| file.table_bytes(entry).is_none()) {
            bail!("{}: it is cut off", path.display());
        }
        Ok(Some(file))
    }

    fn table_bytes(&self, entry: &ProgramEntry) -> Option<&[u8]> {
        let start = usize::try_from(entry.tables).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(entry.size).ok()?)?)
    }

    /// The image's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The address for which it is relocated.
    pub fn base(&self) -> u64 {
        self.header.base
    }

    /// Some of the file's bytes.
    ///
    /// # Errors
    /// The file ends before.
    pub fn bytes(&self, offset: u64, size: u64) -> Result<&[u8]> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(usize::try_from(size).ok()?)?));
        let bytes = range.and_then(|range| self.bytes.get(range));
        bytes.with_context(|| format!("{}: it is cut off", self.path.display()))
    }

    /// What a program sees in the image before anything is written there.
    ///
    /// # Errors
    /// The file does not have it.
    pub fn content(&self, tables: &Tables<'_>, range: Range<u64>) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min((at / PAGE_SIZE + 1) * PAGE_SIZE);
            let window = tables.windows.iter().find(|window| window.pages.contains(&at));
            let in_window = window.map_or(at, |window| window.offset + (at - window.pages.start));
            let region = tables.regions.iter().filter(|region| region.pages.contains(&at)).last();
            let source = region.map_or(Source::Window, |region| match region.source {
                Source::File(offset) | Source::Written(offset) => {
                    Source::File(offset + (at - region.pages.start))
                }
                source => source,
            });
            match source {
                Source::Zero => content.resize(content.len() + (end - at) as usize, 0),
                Source::File(offset) => content.extend_from_slice(self.bytes(offset, end - at)?),
                Source::Window | Source::Written(_) => {
                    content.extend_from_slice(self.bytes(in_window, end - at)?);
                }
            }
            at = end;
        }
        Ok(content)
    }

    /// What the loader reads of a member that is in the image when somebody asks for it.
    ///
    /// # Errors
    /// It is damaged, or the member is not in the image.
    pub fn details(&self, member: &Member<'_>) -> Result<Details<'_>> {
        let details = member.details.and_then(|part| Details::parse(self.part(&part)?));
        let name = member.name.to_string_lossy();
        details.with_context(|| format!("{}: what it tells of {name} is damaged", self.path.display()))
    }

    /// A part of the first window; `None` if it is damaged.
    fn part(&self, part: &WindowPart) -> Option<&[u8]> {
        part.checked(self.bytes(part.start, part.size).ok()?)
    }

    /// The libraries of a program whose code is not that of their files.
    ///
    /// # Errors
    /// The list is damaged.
    pub fn rewritten<'a>(&'a self, tables: &Tables<'_>) -> Result<Vec<Rewritten<'a>>> {
        let Some(aside) = tables.rewritten else { return Ok(Vec::new()) };
        let list = aside.list(self.bytes(aside.offset, aside.size)?);
        let list = list.map(|list| list.iter().collect());
        list.with_context(|| format!("{}: its list of changed libraries is damaged", self.path.display()))
    }

    /// What few starts read is whole, too.
    fn check_parts(&self, tables: &Tables<'_>) -> Result<()> {
        if tables.index.is_some_and(|index| self.part(&index).is_none()) {
            bail!("{}: its index of references is damaged", self.path.display());
        }
        let mut described = tables.members.iter().filter(|member| member.details.is_some());
        described.try_for_each(|member| self.details(&member).map(|_| ()))
    }

    /// The tables of each program, aligned as in a page.
    pub fn each<T>(&self, mut work: impl FnMut(&Tables<'_>) -> T) -> Result<Vec<T>> {
        self.each_with(|_, tables| work(tables))
    }

    /// The same, with where the header says that they are.
    pub(super) fn each_with<T>(
        &self,
        mut work: impl FnMut(&ProgramEntry, &mut Tables<'_>) -> T,
    ) -> Result<Vec<T>> {
        const WORD: usize = size_of::<u64>();
        let results = self.entries.iter().map(|entry| {
            let bytes = self.table_bytes(entry).unwrap_or_default();
            let mut memory = vec![0; bytes.len() + WORD];
            let start = memory.as_ptr().align_offset(WORD);
            let aligned = &mut memory[start..start + bytes.len()];
            aligned.copy_from_slice(bytes);
            let tables = check::tables(entry, aligned);
            let mut tables =
                tables.map_err(|refusal| anyhow::anyhow!("{}: {refusal}", self.path.display()))?;
            Ok(work(entry, &mut tables))
        });
        results.collect()
    }
}

/// What is in an image, for scripts.
pub fn to_json(image: &ImageFile) -> Result<serde_json::Value> {
    serde_json::to_value(describe(image)?).context("no JSON")
}

/// Shows an image to people.
pub fn show(image: &ImageFile) -> Result<()> {
    let description = describe(image)?;
    println!("{}", image.path.display());
    println!(
        "  at {:#x}, {} KiB, for loader {}",
        description.base,
        description.size / 1024,
        description.loader_build_id,
    );
    for program in &description.programs {
        println!(
            "  {} late relocations, {} words to be changed if it is moved, {} paths must not exist, \
             {} KiB of tables, {} windows, {} regions in them",
            program.late_relocations,
            program.rebased_words,
            program.missing,
            program.tables_size.div_ceil(1024),
            program.windows,
            program.regions,
        );
        let count =
            |is_idle: fn(&Object) -> bool| program.members.iter().filter(|object| is_idle(object)).count();
        println!(
            "  constructors of {} libraries and destructors of {} do nothing, and are not called",
            count(|object| object.idle_constructors),
            count(|object| object.idle_destructors),
        );
        println!(
            "  {:>8} {:>9} {:>7} {:>6} {:>6} {:>5}",
            "text", "read-only", "sealed", "data", "zero", "late"
        );
        for object in program.members.iter().filter(|object| object.role != "loader") {
            let Object { text, read_only, sealed, data, zero, late_relocations, name, .. } = object;
            let [text, read_only, sealed, data, zero] =
                [text, read_only, sealed, data, zero].map(|bytes| bytes / 1024);
            println!(
                "  {text:>8} {read_only:>9} {sealed:>7} {data:>6} {zero:>6} {late_relocations:>5}  {name}{}",
                if object.role == "program" { " (the program, not in the image)" } else { "" },
            );
        }
    }
    println!("  sizes in KiB");
    Ok(())
}

fn describe(image: &ImageFile) -> Result<Description<'_>> {
    Ok(Description {
        path: &image.path,
        base: image.header.base,
        size: image.bytes.len() as u64,
        loader_build_id: image.header.loader.iter().map(|byte| format!("{byte:02x}")).collect(),
        programs: image.each(|tables| program(image, tables))?.into_iter().collect::<Result<_>>()?,
    })
}

fn program(image: &ImageFile, tables: &Tables<'_>) -> Result<Program> {
    let text = |text: Option<&CStr>| text.map(|text| text.to_string_lossy().into_owned());
    let Key { library_path, preload, libc, .. } = tables.key;
    let members = tables.members.iter().zip(0_u32..).map(|(member, id)| {
        let late_relocations = tables.late.iter().filter(|late| late.object == id).count();
        object(image, &member, late_relocations)
    });
    Ok(Program {
        library_path: text(library_path),
        preload: text(preload),
        libc: text(libc),
        passes: text(tables.key.passes),
        tables_size: tables.to_bytes().iter().map(Vec::len).sum::<usize>() as u64,
        windows: 1 + tables.windows.len(),
        regions: tables.regions.len(),
        populated: tables.populate.len(),
        rebased_words: RelrSlots::new(tables.rebase).count(),
        late_relocations: tables.late.len(),
        missing: tables.inputs.iter().filter(|input| input.stamp.is_none()).count(),
        members: members.collect::<Result<_>>()?,
    })
}

fn object(image: &ImageFile, member: &Member<'_>, late_relocations: usize) -> Result<Object> {
    let role = match member.role {
        Role::Program => "program",
        Role::Library => "library",
        Role::Libc => "libc",
        Role::Loader => "loader",
    };
    let name = member.name.to_string_lossy().into_owned();
    let mut object = Object {
        name,
        role,
        text: 0,
        read_only: 0,
        sealed: 0,
        data: 0,
        zero: 0,
        late_relocations,
        idle_constructors: member.idle_constructors,
        idle_destructors: member.idle_destructors,
    };
    // What the kernel has mapped is not in the image.
    if member.details.is_none() {
        return Ok(object);
    }
    let segments = Segments::parse(image.details(member)?.header_table)?;
    for region in Plan::new(ObjectType::Relocatable, &segments).regions {
        let bytes = region.pages.end.0 - region.pages.start.0;
        match region.class {
            PageClass::Text => object.text += bytes,
            PageClass::ReadOnly => object.read_only += bytes,
            PageClass::Data => object.data += bytes,
            PageClass::Zero => object.zero += bytes,
            PageClass::Hole => {}
        }
    }
    if let Some(relro) = segments.relro.filter(|relro| member.sealed && relro.start < relro.end) {
        object.sealed = relro.end.0 - relro.start.0;
        object.data = object.data.saturating_sub(object.sealed);
    }
    Ok(object)
}

/// Where a program is, and whether it may use its part of an image.
struct Origin {
    program: PathBuf,
    circumstances: Circumstances,
    /// The name that the image has for it.
    name: OsString,
}

/// Whether the image may be used by starts under the circumstances that it was made for; returns the programs' paths.
///
/// # Errors
/// Why it may not.
pub fn verify(image: &ImageFile) -> Result<Vec<PathBuf>> {
    let told = |refusal: check::Refusal| anyhow::anyhow!("{}: {refusal}", image.path.display());
    let status = |path: &Path| -> Result<sys::FileStatus> {
        let c_path = CString::new(path.as_os_str().as_bytes())?;
        let status = sys::file_status(&c_path);
        status.map_err(|errno| anyhow::anyhow!("{}: {}", path.display(), sys::errno_text(errno)))
    };
    let file = status(&image.path)?;
    let directory = image.path.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = status(directory.unwrap_or(Path::new(".")))?;
    check::ownership(&file, &directory, file.owner, false).map_err(told)?;
    image.each(|tables| image.check_parts(tables))?.into_iter().collect::<Result<()>>()?;
    let origins = origins(image)?;
    let checked = image.each_with(|_, tables| match tables.digests.is_empty() {
        true => check::inputs(&tables.inputs).map(|()| tables.key.program),
        false => {
            let files = portable::examine(tables, tables.program_path(), u64::MAX)?;
            portable::adopt(tables, &files).map(|()| tables.key.program)
        }
    })?;
    for (origin, stamp) in origins.iter().zip(checked) {
        let program = &origin.program;
        if status(program)?.stamp != stamp.map_err(told)? {
            bail!("{}: {} has changed", image.path.display(), program.display());
        }
        if inputs::loader_of(program)? != image.header.loader {
            return Err(told(check::Refusal::OtherLoader));
        }
    }
    Ok(origins.into_iter().map(|origin| origin.program).collect())
}

fn origins(image: &ImageFile) -> Result<Vec<Origin>> {
    let origins = image.each(|tables| {
        let program = tables.members.iter().find(|member| member.role == Role::Program);
        let program = program.with_context(|| format!("{}: it is for no program", image.path.display()))?;
        let program = PathBuf::from(OsStr::from_bytes(program.name.to_bytes()));
        let text = |text: Option<&CStr>| text.map(|text| OsStr::from_bytes(text.to_bytes()).to_owned());
        let Key { library_path, preload, libc, .. } = tables.key;
        let passes = tables.key.passes.map_or(Ok("none"), CStr::to_str).ok();
        let passes = passes.and_then(|passes| passes.parse().ok()).unwrap_or_default();
        let portable = !tables.digests.is_empty();
        let circumstances = Circumstances {
            library_path: text(library_path),
            preload: text(preload),
            libc: text(libc),
            passes,
            portable,
        };
        let name = match portable {
            true => OsString::from_vec(portable_name(program.as_os_str().as_bytes())),
            false => file_name(tables.key.program.identity).into(),
        };
        Ok(Origin { program, circumstances, name })
    })?;
    origins.into_iter().collect()
}

/// What an image has been made of: the names that it has for programs and their paths, and the circumstances of their starts.
///
/// # Errors
/// It is damaged, or for no program.
pub fn origin(image: &ImageFile) -> Result<(Vec<(OsString, PathBuf)>, Circumstances)> {
    let origins = origins(image)?;
    let circumstances = origins.first().map(|origin| origin.circumstances.clone()).unwrap_or_default();
    Ok((origins.into_iter().map(|origin| (origin.name, origin.program)).collect(), circumstances))
}

/// Whether there is an image at `path` that may be used by starts under these circumstances.
///
/// # Errors
/// Why there is none.
pub fn state(path: &Path, circumstances: &Circumstances) -> Result<()> {
    let image = ImageFile::read(path)?.with_context(|| format!("{} is not an image", path.display()))?;
    verify(&image)?;
    if origin(&image)?.1 != *circumstances {
        bail!("{}: made for other circumstances", path.display());
    }
    Ok(())
}

/// An image in one line.
#[derive(Serialize)]
pub struct Summary {
    /// The programs that it is for.
    programs: Vec<Served>,
    /// Bytes of the file.
    size: u64,
}

/// A program that an image is for.
#[derive(Serialize)]
struct Served {
    program: String,
    /// How many libraries it has in the image, libc included.
    libraries: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Served { program, libraries } in &self.programs {
            write!(f, "{program} ({libraries} libraries), ")?;
        }
        write!(f, "{} KiB", self.size / 1024)
    }
}

/// The programs that an image is for, and how many libraries each has in it.
///
/// # Errors
/// It is damaged.
pub fn summary(image: &ImageFile) -> Result<Summary> {
    let programs = image.each(|tables| {
        let program = tables.members.iter().find(|member| member.role == Role::Program);
        let program = program.map(|program| program.name.to_string_lossy().into_owned()).unwrap_or_default();
        let in_image = |member: &Member<'_>| matches!(member.role, Role::Library | Role::Libc);
        Served { program, libraries: tables.members.iter().filter(in_image).count() }
    })?;
    Ok(Summary { programs, size: image.bytes.len() as u64 })
}
