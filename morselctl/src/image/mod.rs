//! Images: building them (`build`, of files seen through `world`, with `layout` saying where each `library` goes), writing them
//! (`write`, with `pages` saying what becomes of each page), looking at them (`inspect`), where they belong (`directory`), and what
//! the user can ask for (`commands`).

mod buffer;
mod build;
mod commands;
mod directory;
mod frame;
mod fused;
mod inspect;
mod layout;
mod library;
mod pages;
mod passes;
mod recorded;
mod world;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use ld_morsel::image::{check, file_name};
use ld_morsel::sys::{self, FileStamp};

use build::{Built, Served};
pub use build::{Circumstances, Loader, leak, read_loader, read_program, told};
pub use commands::{
    BuildArgs, DropArgs, FileArgs, ListArgs, circumstances_as_arguments, run_build, run_drop, run_list,
    run_verify,
};
pub use directory::{c_path, files, make_directory, name_of, path_of, system_place, usual_place};
pub use inspect::{ImageFile, origin, show, state, to_json, verify};
pub use passes::Choice;
pub use recorded::Recorded;
pub use world::{Pool, Recorder};

/// A change that comes as soon as that after another may leave no trace in a file's times: clocks of file systems tick.
const TICK: Duration = Duration::from_millis(20);
/// The same where times have whole seconds.
const COARSE_TICK: Duration = Duration::from_secs(2);
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
    place: impl Fn(&str) -> Result<PathBuf>,
) -> Result<Made> {
    let started = Instant::now();
    let mut built = build_settled(programs, circumstances)?;
    let names = built.programs.iter().map(|served| place(&file_name(served.file.identity)));
    let mut paths = names.collect::<Result<Vec<PathBuf>>>()?;
    paths.dedup();
    let written = write::write(&mut built, &paths)?;
    let late_relocations = built.programs.iter().map(|served| served.late.len()).sum();
    Ok(Made { paths, written, late_relocations, time: started.elapsed(), report: built.report })
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
