//! Images: building them (`build`, of files seen through `world`, with `layout` saying where each `library` goes), writing them
//! (`write`, with `pages` saying what becomes of each page), looking at them (`inspect`), where they belong (`directory`), vouching for
//! portable ones (`stamp`), and what the user can ask for (`commands`).

mod buffer;
mod build;
mod commands;
mod directory;
mod frame;
mod fused;
mod idle;
mod inputs;
mod inspect;
mod layout;
mod library;
mod originals;
mod pages;
mod passes;
mod proof;
mod recorded;
mod stamp;
mod symbols;
mod world;
mod write;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use ld_morsel::image::{check, portable};
use ld_morsel::sys::{self, FileStamp};

use build::{Built, Served};
pub use build::{Circumstances, leak, told};
pub use commands::{
    BuildArgs, DropArgs, FileArgs, ListArgs, circumstances_as_arguments, run_build, run_drop, run_list,
    run_verify,
};
pub use directory::{
    c_path, files, make_directory, name_of, path_of, portable_name_of, remove, system_place, usual_place,
};
pub use inputs::{Loader, read_loader, read_program};
pub use inspect::{ImageFile, origin, show, state, to_json, verify};
pub use passes::Choice;
pub use recorded::{Numbers, Recorded};
pub use stamp::{StampArgs, run_stamp};
pub use world::{Pool, Recorder};

/// A file whose times are in the future is not waited for any longer.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often a build is begun anew because its inputs change meanwhile.
const ATTEMPTS: u32 = 5;

/// An image that has been made; shown as one line.
pub struct Made {
    /// Its names, one for each program.
    pub paths: Vec<PathBuf>,
    written: write::Written,
    late_relocations: usize,
    time: Duration,
    /// What passes have to say.
    report: Vec<String>,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, written, late_relocations, time, report } = self;
        write!(
            f,
            "{}: {} libraries, {} KiB with {} KiB of tables, {late_relocations} late relocations, {} libraries to be sealed at \
             start, {:.2} s",
            paths[0].display(),
            written.libraries,
            written.size / 1024,
            written.tables.div_ceil(1024),
            written.unsealed,
            time.as_secs_f64(),
        )?;
        report.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Builds an image for programs and writes it where `place` puts its names.
///
/// # Errors
/// A program cannot have one, or it cannot be written; why.
pub fn build_into(
    programs: &[PathBuf],
    circumstances: &Circumstances,
    place: impl Fn(&OsStr) -> Result<PathBuf>,
) -> Result<Made> {
    let started = Instant::now();
    let mut built = build_settled(programs, circumstances)?;
    let names = built.programs.iter().map(|served| place(&served.name()));
    let mut paths = names.collect::<Result<Vec<PathBuf>>>()?;
    paths.dedup();
    if circumstances.portable {
        check_portable(&built, &paths)?;
    }
    let written = write::write(&mut built, &paths)?;
    let late_relocations = built.programs.iter().map(|served| served.late.len()).sum();
    Ok(Made { paths, written, late_relocations, time: started.elapsed(), report: built.report })
}

/// In a portable image, programs are told apart by what is in memory of them, and each has its own stamp.
fn check_portable(built: &Built, paths: &[PathBuf]) -> Result<()> {
    let programs = &built.programs;
    if paths.len() < programs.len() {
        bail!("{}: a portable image needs a name for each program", paths[0].display());
    }
    for (index, served) in programs.iter().enumerate() {
        if let Some(other) = programs[..index].iter().find(|other| other.fingerprint == served.fingerprint) {
            let [one, other] = [&other.path, &served.path].map(|path| path.to_string_lossy());
            bail!("{one} and {other} cannot be told apart in a portable image: build one for each (--each)");
        }
    }
    Ok(())
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
    let settled =
        UNIX_EPOCH + Duration::from_nanos(stamp.changed.saturating_add(portable::settling_time(stamp)));
    settled.duration_since(begun).unwrap_or_default().min(LONGEST_WAIT)
}

fn unchanged(served: &Served) -> bool {
    let program = sys::file_status(&served.path).is_ok_and(|status| status.stamp == served.file);
    program && check::inputs(served.inputs()).is_ok()
}
