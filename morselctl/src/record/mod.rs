//! `morselctl record`: runs a program with a copy of its image (`watched`) and writes down which pages of it have been touched when
//! `main` begins (`trace`) and when the program ends (`recording`), and whether mapping them at once makes starts faster
//! (`trial`).

pub mod recording;
mod trace;
mod trial;
mod watched;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ld_morsel::image::format::Watch;

use crate::image::{ImageFile, Recorded, make_directory, name_of, origin, usual_place, verify};
use crate::write::Pending;
use recording::{Mode, Touched, Trial};
use trace::Start;
use watched::{Scratch, Watched};

/// Options of `record`.
#[derive(clap::Args)]
pub struct Args {
    /// How often to run the program
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How many pairs of starts to measure, with and without what has been recorded; 0: none, and it is always used
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: u32,
    /// The recording; default: where `build` looks for it
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Add to a recording what this mode of the program touches, instead of replacing it
    #[arg(long)]
    append: bool,
    /// The program's image; default: where the loader looks for it
    #[arg(long, value_name = "IMAGE", value_hint = clap::ValueHint::FilePath)]
    image: Option<PathBuf>,
    /// A directory on a disk for copies of the image; default: $TMPDIR, or /var/tmp
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    scratch: Option<PathBuf>,
    /// The program
    #[arg(value_hint = clap::ValueHint::FilePath)]
    program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// `morselctl record`
pub fn run(args: &Args) -> Result<()> {
    let program = fs::canonicalize(&args.program).with_context(|| args.program.display().to_string())?;
    let image = match &args.image {
        Some(image) => image.clone(),
        None => usual_place()?.join(name_of(&program)?),
    };
    let image = ImageFile::read(&image)?.with_context(|| format!("{} is not an image", image.display()))?;
    verify(&image)?;
    let scratch = match (&args.scratch, std::env::var_os("TMPDIR")) {
        (Some(directory), _) => Scratch::new(directory)?,
        (None, Some(directory)) if !directory.is_empty() => Scratch::new(Path::new(&directory))?,
        (None, _) => Scratch::new(Path::new("/var/tmp"))?,
    };
    let (_, circumstances) = origin(&image)?;
    let start = Start { program: &program, arguments: &args.arguments, circumstances: &circumstances };
    let mut mode = record(&start, args.runs, &image, &scratch)?;
    if args.rounds > 0 {
        mode.trial = Some(trial::measure(&mode, &args.arguments, &circumstances, args.rounds, &scratch)?);
    }
    let output = args.output.clone().map_or_else(|| recording::usual_file(&program), Ok)?;
    let summary = summary(&mode);
    let mut modes = if args.append { recording::read(&output)?.unwrap_or_default() } else { Vec::new() };
    modes.push(mode);
    write(&output, &recording::to_lines(&modes)?, args.output.is_none())?;
    println!("{}: {summary}", output.display());
    Ok(())
}

/// Runs the program and counts.
fn record(start: &Start<'_>, runs: u32, image: &ImageFile, scratch: &Scratch) -> Result<Mode> {
    let libraries = image.recorded(start.program)?;
    let watched = Watched::new(image, scratch.path("watched"), Watch::MAIN | Watch::PAGES)?;
    let mut counts: Vec<Counts> = libraries.iter().map(|_| Counts::default()).collect();
    for _ in 0..runs {
        watched.forget()?;
        let process = start.to_main(&watched.path, false)?;
        let main = watched.touched()?;
        let places = libraries.iter().flat_map(|library| library.pages.iter().map(|page| page.place));
        let written: HashSet<u64> = watched.written(process.id(), places)?.into_iter().collect();
        if let Some(ending) = process.finish()? {
            eprintln!("morselctl: {} has ended with {ending}", start.program.display());
        }
        let exit = watched.touched()?;
        for (library, counts) in libraries.iter().zip(&mut counts) {
            counts.add(library, &main, &written, &exit);
        }
    }
    let touched = libraries.iter().zip(&counts).map(|(library, counts)| Touched {
        path: library.path.clone(),
        fingerprint: recording::digits(library.fingerprint),
        main: recording::runs(&counts.main),
        written: recording::runs(&counts.written),
        exit: recording::runs(&counts.exit),
    });
    Ok(Mode {
        version: recording::VERSION,
        program: start.program.to_owned(),
        arguments: start.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        runs,
        libraries: touched.filter(|touched| !touched.exit.is_empty()).collect(),
        trial: None,
    })
}

/// In how many runs each page of a library was touched.
#[derive(Default)]
struct Counts {
    main: BTreeMap<i64, u32>,
    written: BTreeMap<i64, u32>,
    exit: BTreeMap<i64, u32>,
}

impl Counts {
    fn add(&mut self, library: &Recorded, main: &[bool], written: &HashSet<u64>, exit: &[bool]) {
        for page in &library.pages {
            let touched = |at: &[bool]| page.in_file.is_some_and(|file| at.get(file) == Some(&true));
            let is_written = written.contains(&page.place);
            for (counts, is_touched) in [
                (&mut self.main, touched(main) || is_written),
                (&mut self.written, is_written),
                (&mut self.exit, touched(exit) || is_written),
            ] {
                if is_touched {
                    *counts.entry(page.number).or_default() += 1;
                }
            }
        }
    }
}

/// A mode in a few words.
fn summary(mode: &Mode) -> String {
    let count = |runs: fn(&Touched) -> &[recording::Run]| -> u64 {
        let counting = mode.libraries.iter().flat_map(|library| mode.counting(runs(library)));
        counting.map(|(_, pages)| pages).sum()
    };
    let (main, exit) = (count(|library| &library.main), count(|library| &library.exit));
    let verdict = match &mode.trial {
        None => "not measured".to_owned(),
        Some(trial @ Trial { warm, cold }) => format!(
            "from exec to main {:.0} µs instead of {:.0}, {:.0} instead of {:.0} from the disk: {}",
            warm.with,
            warm.without,
            cold.with,
            cold.without,
            if trial.wins() { "it pays" } else { "it does not pay" },
        ),
    };
    format!("{main} pages touched before main, {exit} in all; {verdict}")
}

/// Writes the recording; where `build` looks for it, there may be no directory yet.
fn write(output: &Path, lines: &str, usual: bool) -> Result<()> {
    if let Some(directory) = output.parent().filter(|_| usual) {
        make_directory(directory)?;
    }
    let pending = Pending::create(output, |path| {
        fs::write(path, lines)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))
    })?;
    pending.commit()
}
