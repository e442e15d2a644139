//! Images: building them (`build`, of files seen through `world`, with `layout` saying where each `library` goes), writing them
//! (`write`, with `pages` saying what becomes of each page), looking at them (`inspect`), and where they belong.

mod buffer;
mod build;
mod frame;
mod fused;
mod inspect;
mod library;
mod pages;
mod layout;
mod world;
mod write;

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use ld_morsel::image::{SYSTEM_PLACE, check, file_name};
use ld_morsel::sys::{self, FileIdentity, FileStamp};

use build::{Built, Circumstances, Served};
pub use inspect::{ImageFile, show, to_json};

/// A change that comes as soon as that after another may leave no trace in a file's times: clocks of file systems tick.
const TICK: Duration = Duration::from_millis(20);
/// The same where times have whole seconds.
const COARSE_TICK: Duration = Duration::from_secs(2);
/// How often a build is begun anew because its inputs change meanwhile.
const ATTEMPTS: u32 = 5;

/// Options of `build`.
#[derive(clap::Args)]
pub struct BuildArgs {
    /// The programs; their libraries are in the image once
    #[arg(required = true, value_name = "PROGRAM")]
    programs: Vec<PathBuf>,
    /// Where to put the image; default: where the loader looks
    #[arg(short, long, value_name = "IMAGE")]
    output: Option<PathBuf>,
    /// The directory of the images; default: where the loader looks
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    into: Option<PathBuf>,
    #[command(flatten)]
    circumstances: Circumstances,
}

/// Options of `verify`.
#[derive(clap::Args)]
pub struct FileArgs {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
}

/// Options of `list` and `refresh`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// The directory; default: where `build` puts images
    directory: Option<PathBuf>,
}

/// Options of `drop`.
#[derive(clap::Args)]
pub struct DropArgs {
    /// The programs
    #[arg(required = true, value_name = "PROGRAM")]
    programs: Vec<PathBuf>,
    /// The directory of the images; default: where `build` puts them
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// `morselctl verify`
pub fn run_verify(args: &FileArgs) -> Result<()> {
    let mut failed = 0;
    for path in &args.images {
        let image = ImageFile::read(path).and_then(|image| image.with_context(|| not_an_image(path)));
        match image.and_then(|image| inspect::verify(&image)) {
            Ok(programs) => {
                let programs = programs.iter().map(|program| program.display().to_string());
                println!("{}: valid, for {}", path.display(), programs.collect::<Vec<_>>().join(", "));
            }
            Err(error) => {
                eprintln!("morselctl: {error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} images may not be used", args.images.len());
    }
    Ok(())
}

fn not_an_image(path: &Path) -> String {
    format!("{} is not an image", path.display())
}

/// `morselctl list`
pub fn run_list(args: &ListArgs) -> Result<()> {
    let directory = args.directory.clone().map_or_else(usual_place, Ok)?;
    for path in files(&directory)? {
        let said = match ImageFile::read(&path) {
            Ok(Some(image)) => inspect::summary(&image),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        println!("{}  {}", path.display(), said.unwrap_or_else(|error| format!("{error:#}")));
    }
    Ok(())
}

/// `morselctl drop`
pub fn run_drop(args: &DropArgs) -> Result<()> {
    let directory = args.from.clone().map_or_else(usual_place, Ok)?;
    for program in &args.programs {
        let metadata = std::fs::metadata(program).with_context(|| program.display().to_string())?;
        let identity = FileIdentity { device: metadata.dev(), inode: metadata.ino() };
        let path = directory.join(file_name(identity));
        std::fs::remove_file(&path).with_context(|| format!("{}: {}", program.display(), path.display()))?;
    }
    Ok(())
}

/// `morselctl build`
pub fn run_build(args: &BuildArgs) -> Result<()> {
    let place = |name: &str| match (&args.output, &args.into) {
        (Some(path), _) => Ok(path.clone()),
        (None, Some(directory)) => Ok(directory.join(name)),
        (None, None) => Ok(usual_directory()?.join(name)),
    };
    build_into(&args.programs, &args.circumstances, place).map(|_| ())
}

/// Builds an image and writes it where `place` puts its names, one for each program; returns where that is.
fn build_into(
    programs: &[PathBuf],
    circumstances: &Circumstances,
    place: impl Fn(&str) -> Result<PathBuf>,
) -> Result<Vec<PathBuf>> {
    let started = Instant::now();
    let mut built = build_settled(programs, circumstances)?;
    let names = built.programs.iter().map(|served| place(&file_name(served.file.identity)));
    let mut targets = names.collect::<Result<Vec<PathBuf>>>()?;
    targets.dedup();
    let written = write::write(&mut built, &targets)?;
    println!(
        "{}: {} libraries, {} KiB with {} KiB of tables, {} late relocations, {} libraries to be sealed at start, {:.2} s",
        targets[0].display(),
        written.libraries,
        written.size / 1024,
        written.tables.div_ceil(1024),
        built.programs.iter().map(|served| served.late.len()).sum::<usize>(),
        written.unsealed,
        started.elapsed().as_secs_f64(),
    );
    Ok(targets)
}

/// `morselctl refresh`
pub fn run_refresh(args: &ListArgs) -> Result<()> {
    let directory = args.directory.clone().map_or_else(usual_place, Ok)?;
    let mut failed = 0;
    for path in files(&directory)? {
        let refreshed = match ImageFile::read(&path) {
            Ok(Some(image)) => refresh(&path, &image, &directory),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = refreshed {
            eprintln!("morselctl: {error:#}");
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("{failed} images could not be made anew");
    }
    Ok(())
}

/// Builds an image anew if it may not be used any more. One that cannot be built, or whose programs are gone, is removed: it
/// would only cost time.
fn refresh(path: &Path, image: &ImageFile, directory: &Path) -> Result<()> {
    let Err(reason) = inspect::verify(image) else { return Ok(()) };
    println!("{reason:#}");
    let (programs, circumstances) = inspect::origin(image)?;
    let own = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let is_here = |identity: FileIdentity| {
        let name = std::fs::metadata(directory.join(file_name(identity)));
        name.is_ok_and(|name| (name.dev(), name.ino()) == (own.dev(), own.ino()))
    };
    let programs = programs.into_iter().filter(|(identity, program)| is_here(*identity) && program.exists());
    let programs: Vec<PathBuf> = programs.map(|(_, program)| program).collect();
    let remove = || std::fs::remove_file(path).with_context(|| path.display().to_string());
    if programs.is_empty() {
        return remove();
    }
    let built = build_into(&programs, &circumstances, |name| Ok(directory.join(name)));
    if !built.as_ref().is_ok_and(|paths| paths.iter().any(|built| built == path)) {
        remove()?;
    }
    built.map(|_| ())
}

/// The files in a directory, if it is there.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| directory.display().to_string())?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Builds until nothing has changed meanwhile, nor can have changed unseen.
fn build_settled(programs: &[PathBuf], circumstances: &Circumstances) -> Result<Built> {
    for _ in 0..ATTEMPTS {
        let begun = SystemTime::now();
        let built = build::build(programs, circumstances)?;
        let stamps = built
            .programs
            .iter()
            .flat_map(|served| served.inputs.iter().filter_map(|(_, stamp)| *stamp).chain([served.file]));
        let wait = stamps.map(|stamp| unsettled_for(&stamp, begun)).max().unwrap_or_default();
        if !wait.is_zero() {
            std::thread::sleep(wait);
        } else if built.programs.iter().all(unchanged) {
            return Ok(built);
        }
    }
    bail!("{}: its files keep changing", programs.first().map_or(Path::new(""), PathBuf::as_path).display())
}

/// How long to wait before it is certain that reading the file anew shows what its stamp stands for.
fn unsettled_for(stamp: &FileStamp, begun: SystemTime) -> Duration {
    let whole = stamp.changed.is_multiple_of(1_000_000_000);
    let settled = UNIX_EPOCH + Duration::from_nanos(stamp.changed) + if whole { COARSE_TICK } else { TICK };
    settled.duration_since(begun).unwrap_or_default().min(COARSE_TICK)
}

fn unchanged(served: &Served) -> bool {
    let program = sys::file_status(&served.path).is_ok_and(|status| status.stamp == served.file);
    program && check::inputs(&served.inputs()).is_ok()
}

/// Where images are: for everybody if root makes them, else for the user alone.
fn usual_place() -> Result<PathBuf> {
    Ok(if is_root()? {
        PathBuf::from(OsStr::from_bytes(SYSTEM_PLACE.to_bytes()))
    } else {
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
        cache.join("ld-morsel")
    })
}

/// The same, made if it is not there.
fn usual_directory() -> Result<PathBuf> {
    let directory = usual_place()?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

fn is_root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self").context("/proc/self")?.uid() == 0)
}
