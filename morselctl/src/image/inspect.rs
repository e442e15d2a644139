//! Looking at images: what is in one (`inspect`), whether it may be used and why not (`verify`), and which there are
//! (`list`).

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ld_morsel::elf::RelrSlots;
use ld_morsel::image::check;
use ld_morsel::image::format::{Content, HEADER_AT, Header, Key, Member, Role, Tables, VERSION};
use ld_morsel::sys::{self, MemoryFlags};
use serde::Serialize;

use super::build::{self, Circumstances};

/// A file that is an image, as the loader sees it.
pub struct ImageFile {
    path: PathBuf,
    header: Header,
    bytes: Vec<u8>,
}

/// What `inspect` tells.
#[derive(Serialize)]
struct Description<'a> {
    path: &'a Path,
    base: u64,
    /// Bytes of address space.
    window: u64,
    tables_size: u64,
    loader_build_id: String,
    library_path: Option<String>,
    preload: Option<String>,
    libc: Option<String>,
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
        let file = Self { path: path.to_owned(), header, bytes };
        if file.table_bytes().is_none() {
            bail!("{}: it is cut off", path.display());
        }
        Ok(Some(file))
    }

    fn table_bytes(&self) -> Option<&[u8]> {
        let start = usize::try_from(self.header.tables).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(self.header.tables_size).ok()?)?)
    }

    /// The tables, aligned as in a page.
    fn with_tables<T>(&self, work: impl FnOnce(&Tables<'_>) -> T) -> Result<T> {
        const WORD: usize = size_of::<u64>();
        let bytes = self.table_bytes().unwrap_or_default();
        let mut memory = vec![0; bytes.len() + WORD];
        let start = memory.as_ptr().align_offset(WORD);
        let aligned = &mut memory[start..start + bytes.len()];
        aligned.copy_from_slice(bytes);
        let tables = check::tables(&self.header, aligned);
        let tables = tables.map_err(|refusal| anyhow::anyhow!("{}: {refusal}", self.path.display()))?;
        Ok(work(&tables))
    }
}

/// What is in an image, for scripts.
pub fn to_json(image: &ImageFile) -> Result<serde_json::Value> {
    image.with_tables(|tables| serde_json::to_value(describe(image, tables)).context("no JSON"))?
}

/// Shows an image to people.
pub fn show(image: &ImageFile) -> Result<()> {
    let description = image.with_tables(|tables| describe(image, tables))?;
    println!("{}", image.path.display());
    println!(
        "  at {:#x}, {} KiB with {} KiB of tables, for loader {}",
        description.base,
        description.window / 1024,
        description.tables_size.div_ceil(1024),
        description.loader_build_id,
    );
    println!(
        "  {} late relocations, {} words to be changed if it is moved, {} paths must not exist",
        description.late_relocations, description.rebased_words, description.missing,
    );
    println!("  {:>8} {:>9} {:>7} {:>6} {:>6} {:>5}", "text", "read-only", "sealed", "data", "zero", "late");
    for object in description.members.iter().filter(|object| object.role != "loader") {
        let Object { text, read_only, sealed, data, zero, late_relocations, name, .. } = object;
        let [text, read_only, sealed, data, zero] =
            [text, read_only, sealed, data, zero].map(|bytes| bytes / 1024);
        println!(
            "  {text:>8} {read_only:>9} {sealed:>7} {data:>6} {zero:>6} {late_relocations:>5}  {name}{}",
            if object.role == "program" { " (the program, not in the image)" } else { "" },
        );
    }
    println!("  sizes in KiB");
    Ok(())
}

fn describe<'a>(image: &'a ImageFile, tables: &Tables<'_>) -> Description<'a> {
    let text = |text: Option<&CStr>| text.map(|text| text.to_string_lossy().into_owned());
    let Key { library_path, preload, libc, .. } = tables.key;
    let members = tables.members.iter().zip(0_u32..).map(|(member, id)| {
        let late_relocations = tables.late.iter().filter(|late| late.object == id).count();
        object(member, late_relocations)
    });
    Description {
        path: &image.path,
        base: image.header.base,
        window: image.header.window,
        tables_size: image.header.tables_size,
        loader_build_id: image.header.loader.iter().map(|byte| format!("{byte:02x}")).collect(),
        library_path: text(library_path),
        preload: text(preload),
        libc: text(libc),
        rebased_words: RelrSlots::new(tables.rebase).count(),
        late_relocations: tables.late.len(),
        missing: tables.inputs.iter().filter(|input| input.stamp.is_none()).count(),
        members: members.collect(),
    }
}

fn object(member: &Member<'_>, late_relocations: usize) -> Object {
    let role = match member.role {
        Role::Program => "program",
        Role::Library => "library",
        Role::Libc => "libc",
        Role::Loader => "loader",
    };
    let name = member.name.to_string_lossy().into_owned();
    let mut object =
        Object { name, role, text: 0, read_only: 0, sealed: 0, data: 0, zero: 0, late_relocations };
    for region in &member.regions {
        let sum = match region.content {
            Content::Sealed => &mut object.sealed,
            Content::Zero => &mut object.zero,
            Content::File if region.access.contains(MemoryFlags::EXECUTE) => &mut object.text,
            Content::File if region.access.contains(MemoryFlags::WRITE) => &mut object.data,
            Content::File => &mut object.read_only,
        };
        *sum += region.range.end - region.range.start;
    }
    object
}

/// Whether the image may be used by a start under the circumstances that it was made for; returns the program's path.
///
/// # Errors
/// Why it may not.
pub fn verify(image: &ImageFile) -> Result<PathBuf> {
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
    let (program, _) = origin(image)?;
    image.with_tables(|tables| {
        check::inputs(&tables.inputs).map_err(told)?;
        if status(&program)?.stamp != tables.key.program {
            bail!("{}: {} has changed", image.path.display(), program.display());
        }
        Ok(())
    })??;
    if build::loader_of(&program)? != image.header.loader {
        return Err(told(check::Refusal::OtherLoader));
    }
    Ok(program)
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

/// What an image has been made of: the program's path, and the circumstances of its starts.
pub fn origin(image: &ImageFile) -> Result<(PathBuf, Circumstances)> {
    image.with_tables(|tables| {
        let program = tables.members.iter().find(|member| member.role == Role::Program);
        let program = program.with_context(|| format!("{}: it is for no program", image.path.display()))?;
        let program = PathBuf::from(OsStr::from_bytes(program.name.to_bytes()));
        let text = |text: Option<&CStr>| text.map(|text| OsStr::from_bytes(text.to_bytes()).to_owned());
        let Key { library_path, preload, libc, .. } = tables.key;
        Ok((
            program,
            Circumstances { library_path: text(library_path), preload: text(preload), libc: text(libc) },
        ))
    })?
}

/// An image in one line.
#[derive(Serialize)]
pub struct Summary {
    /// The program that it is for.
    program: String,
    /// How many libraries are in it.
    libraries: usize,
    /// Bytes of address space.
    window: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} libraries, {} KiB)", self.program, self.libraries, self.window / 1024)
    }
}

/// The program that an image is for, and how many libraries are in it.
pub fn summary(image: &ImageFile) -> Result<Summary> {
    image.with_tables(|tables| {
        let program = tables.members.iter().find(|member| member.role == Role::Program);
        let program = program.map(|program| program.name.to_string_lossy().into_owned()).unwrap_or_default();
        let libraries = tables.members.iter().filter(|member| member.role == Role::Library).count();
        Summary { program, libraries, window: image.header.window }
    })
}
