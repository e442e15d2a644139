//! `morselctl refresh`: brings a directory of images up to date. What may still be used stays as it is; with `--system`, what the
//! configuration lists and is missing is built.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::config::{Config, Group};
use crate::image::{self, Circumstances, ImageFile};
use crate::progress::Progress;

/// The file in a directory of images that its refreshers lock.
const LOCK: &str = ".lock";

/// Options of the subcommand.
#[derive(clap::Args)]
pub struct Args {
    /// The directory; default: where `build` puts images, or /var/cache/ld-morsel with --system
    #[arg(value_hint = clap::ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// Build also what the configuration file lists and has no image that may be used
    #[arg(long)]
    system: bool,
    /// The configuration file [default: /etc/ld-morsel.toml]
    #[arg(long, value_name = "FILE", requires = "system", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

/// How many images, by what has become of them.
#[derive(Default)]
struct Tally {
    built: usize,
    unchanged: usize,
    removed: usize,
    failed: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { built, unchanged, removed, failed } = self;
        write!(f, "{built} images built, {unchanged} unchanged, {removed} removed, {failed} failed")
    }
}

/// The subcommand.
pub fn run(args: &Args) -> Result<()> {
    let usual = || if args.system { Ok(image::system_place()) } else { image::usual_place() };
    let directory = args.directory.clone().map_or_else(usual, Ok)?;
    let groups = match args.system {
        true => Config::read(args.config.as_deref())?.groups(|warning| eprintln!("morselctl: {warning}"))?,
        false => Vec::new(),
    };
    let mut tally = Tally::default();
    if !groups.is_empty() || directory.exists() {
        image::make_directory(&directory)?;
        let _lock = lock(&directory)?;
        tally = Refresh::new(&directory, &groups, args.quiet)?.run();
    }
    if !args.quiet {
        println!("{}: {tally}", directory.display());
    }
    if tally.failed > 0 {
        bail!("{} images could not be made", tally.failed);
    }
    Ok(())
}

/// Waits until nobody else refreshes this directory.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let lock = || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error: io::Error| anyhow::anyhow!("cannot lock {}: {error}", path.display()))
}

/// Whether all are names of one file.
fn same_file(paths: &[PathBuf]) -> bool {
    let identity = |path: &PathBuf| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let first = paths.first().and_then(identity);
    first.is_some() && paths.iter().all(|path| identity(path) == first)
}

/// The name of the image of a program that is built under these circumstances.
fn name_of(program: &Path, circumstances: &Circumstances) -> Result<OsString> {
    match circumstances.portable {
        true => image::portable_name_of(program),
        false => image::name_of(program).map(OsString::from),
    }
}

/// A refresh under way.
struct Refresh<'a> {
    directory: &'a Path,
    groups: &'a [Group],
    /// What else is in the directory.
    files: Vec<PathBuf>,
    /// Images that are dealt with.
    done: HashSet<PathBuf>,
    tally: Tally,
    progress: Progress,
    quiet: bool,
}

impl<'a> Refresh<'a> {
    fn new(directory: &'a Path, groups: &'a [Group], quiet: bool) -> Result<Self> {
        let mut files = image::files(directory)?;
        let programs = groups.iter().flat_map(|group| &group.programs);
        let names = programs.filter_map(|program| image::name_of(program).ok());
        let wanted: HashSet<PathBuf> = names.map(|name| directory.join(name)).collect();
        files.retain(|file| !wanted.contains(file));
        let progress = Progress::new(groups.len() + files.len());
        Ok(Self { directory, groups, files, done: HashSet::new(), tally: Tally::default(), progress, quiet })
    }

    fn run(mut self) -> Tally {
        for group in self.groups {
            self.progress.begin(&group.programs[0]);
            let result = self.provide(&group.programs, &group.circumstances);
            self.finish(result);
        }
        for path in std::mem::take(&mut self.files) {
            self.progress.begin(&path);
            let result = if self.done.contains(&path) { Ok(()) } else { self.refresh(&path) };
            self.finish(result);
        }
        self.progress.end();
        self.tally
    }

    fn finish(&mut self, result: Result<()>) {
        self.note(result);
        self.progress.step();
    }

    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.progress.complain(&error);
            self.tally.failed += 1;
        }
    }

    fn say(&self, line: impl fmt::Display) {
        if !self.quiet {
            self.progress.say(line);
        }
    }

    /// Builds the image of programs unless they have one that may be used.
    fn provide(&mut self, programs: &[PathBuf], circumstances: &Circumstances) -> Result<()> {
        let names = programs.iter().map(|program| Ok(self.directory.join(name_of(program, circumstances)?)));
        let paths = names.collect::<Result<Vec<PathBuf>>>()?;
        // Whatever becomes of it: another name of the same program is no reason to try again.
        let new = paths.iter().filter(|path| self.done.insert((*path).clone())).count();
        if new == 0 {
            return Ok(());
        }
        match paths.iter().try_for_each(|path| image::state(path, circumstances)) {
            Ok(()) if same_file(&paths) => {
                self.tally.unchanged += 1;
                return Ok(());
            }
            Err(reason) if paths.iter().any(|path| path.exists()) => self.say(format_args!("{reason:#}")),
            _ => {}
        }
        let built = self.build(programs, circumstances);
        if let (Err(error), [_, _, ..]) = (&built, programs) {
            self.say(format_args!("no image for all of them: {error:#}"));
            paths.iter().for_each(|path| _ = self.done.remove(path));
            self.provide_each(programs, circumstances);
            return Ok(());
        }
        for path in paths.iter().filter(|path| built.is_err() && path.exists()) {
            self.remove(path)?;
        }
        built
    }

    /// The same for programs that cannot share an image, because one of them cannot have any.
    fn provide_each(&mut self, programs: &[PathBuf], circumstances: &Circumstances) {
        for program in programs {
            let result = self.provide(std::slice::from_ref(program), circumstances);
            self.note(result);
        }
    }

    fn build(&mut self, programs: &[PathBuf], circumstances: &Circumstances) -> Result<()> {
        let made = image::build_into(programs, circumstances, |name| Ok(self.directory.join(name)))?;
        self.say(&made);
        self.done.extend(made.paths);
        self.tally.built += 1;
        Ok(())
    }

    /// Builds an image anew if it may not be used any more. One that cannot be built, or whose program is gone, is removed: it
    /// would only cost time.
    fn refresh(&mut self, path: &Path) -> Result<()> {
        let image = match ImageFile::read(path) {
            Ok(Some(image)) => image,
            Ok(None) => return Ok(()),
            Err(error) => match error.root_cause().downcast_ref::<io::Error>() {
                // It has been removed since, as another name of what it was is visited first in some directories.
                Some(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
                Some(_) => return Err(error),
                // No loader that belongs to this tool will ever use it.
                None => return self.discard(path, &error),
            },
        };
        let Err(reason) = image::verify(&image) else {
            self.tally.unchanged += 1;
            return Ok(());
        };
        let Ok((programs, circumstances)) = image::origin(&image) else { return self.discard(path, &reason) };
        // Of programs that share it, those that nobody has dropped. A program may be another file by now, whose image has
        // another name.
        let mut paths = Vec::from([path.to_owned()]);
        let mut rest = Vec::new();
        for (name, program) in programs {
            let name = self.directory.join(name);
            if same_file(&[path.to_owned(), name.clone()]) && program.exists() {
                paths.push(name);
                // Not what has got another image since.
                if !self.done.contains(&self.directory.join(image::name_of(&program)?)) {
                    rest.push(program);
                }
            }
        }
        let names = rest.iter().map(|program| Ok(self.directory.join(name_of(program, &circumstances)?)));
        let names = names.collect::<Result<Vec<PathBuf>>>()?;
        for path in paths.iter().filter(|path| !names.contains(path) && path.exists()) {
            self.discard(path, &reason)?;
        }
        self.provide(&rest, &circumstances)
    }

    fn discard(&mut self, path: &Path, reason: &anyhow::Error) -> Result<()> {
        self.say(format_args!("{reason:#}"));
        self.remove(path)
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        image::remove(path)?;
        self.say(format_args!("{}: removed", path.display()));
        self.tally.removed += 1;
        Ok(())
    }
}
