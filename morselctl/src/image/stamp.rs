//! `morselctl stamp`: reads the files that portable images have been built of, as a first start would, and writes down which
//! they are. Besides, each image gets the name by which starts find it that know nothing of portable images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ld_morsel::image::format::{ProgramEntry, Tables};
use ld_morsel::image::portable::{self, PendingStamp};
use ld_morsel::image::{Refusal, check, stamp};
use ld_morsel::sys;

use super::build::told;
use super::directory::{c_path, files, name_of, path_of, portable_name_of, stamp_of, usual_place};
use super::inspect::ImageFile;
use crate::write::Pending;

/// How long, and how often, to wait for a file that has been changed just now.
const WAIT: Duration = Duration::from_millis(100);
const WAITS: u32 = 25;

/// Options of `stamp`.
#[derive(clap::Args)]
pub struct StampArgs {
    /// The images
    #[arg(value_name = "IMAGE", required_unless_present = "all", value_hint = clap::ValueHint::FilePath)]
    images: Vec<PathBuf>,
    /// All portable images of a directory; default: where `build` puts images
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with = "images", value_hint = clap::ValueHint::DirPath)]
    all: Option<Option<PathBuf>>,
}

/// The subcommand.
pub fn run_stamp(args: &StampArgs) -> Result<()> {
    let images = match &args.all {
        None => args.images.clone(),
        Some(directory) => {
            let found = files(&directory.clone().map_or_else(usual_place, Ok)?)?;
            found.into_iter().filter(|path| is_portable(path)).collect()
        }
    };
    let mut failed = 0;
    for image in &images {
        match stamp(image) {
            Ok(program) => println!("{}: stamped, for {}", image.display(), program.display()),
            Err(error) => {
                eprintln!("morselctl: {error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} images could not be stamped", images.len());
    }
    Ok(())
}

/// Whether there is an image at `path` that `stamp --all` is for.
fn is_portable(path: &Path) -> bool {
    let portable = |image: &ImageFile| image.each_with(|_, tables| !tables.digests.is_empty());
    let Ok(Some(image)) = ImageFile::read(path) else { return false };
    portable(&image).is_ok_and(|programs| programs.contains(&true))
}

/// Stamps an image; returns the path of the program that this name of it is for.
fn stamp(path: &Path) -> Result<PathBuf> {
    let image = ImageFile::read(path)?.with_context(|| format!("{} is not an image", path.display()))?;
    let programs = image.each_with(|_, tables| path_of(tables.program_path()).to_owned())?;
    let named =
        |program: &&PathBuf| portable_name_of(program).is_ok_and(|name| path.file_name() == Some(&name));
    let own = programs.iter().find(named);
    let Some(program) = own.or(programs.first().filter(|_| programs.len() == 1)) else {
        bail!("{}: its name tells none of the programs that it is for", path.display());
    };
    let work = |entry: &ProgramEntry, tables: &mut Tables<'_>| match path_of(tables.program_path()) == program
    {
        true => stamp_program(path, entry, tables),
        false => Ok(()),
    };
    image.each_with(work)?.into_iter().collect::<Result<()>>()?;
    if own.is_some() {
        link(path, &path.with_file_name(name_of(program)?))?;
        link(&stamp_of(path), &stamp_of(&path.with_file_name(name_of(program)?)))?;
    }
    Ok(program.clone())
}

fn stamp_program(path: &Path, entry: &ProgramEntry, tables: &mut Tables<'_>) -> Result<()> {
    if tables.digests.is_empty() {
        bail!("{} is not a portable image: it needs no stamp", path.display());
    }
    let stamp_path = stamp_of(path);
    let c_stamp = c_path(&stamp_path)?;
    let mut waits = 0;
    loop {
        let unwritten =
            |errno| told(format_args!("cannot write {}: {}", stamp_path.display(), sys::errno_text(errno)));
        let pending = PendingStamp::create(&c_stamp).map_err(unwritten)?;
        let files = match portable::examine(tables, tables.program_path(), pending.now) {
            Err(Refusal::Unsettled(_)) if waits < WAITS => {
                std::thread::sleep(WAIT);
                waits += 1;
                continue;
            }
            files => files.map_err(|refusal| refused(path, &refusal))?,
        };
        pending.commit(&stamp::to_bytes(entry.checksum, &files), &c_stamp).map_err(unwritten)?;
        return portable::adopt(tables, &files).map_err(|refusal| refused(path, &refusal));
    }
}

fn refused(path: &Path, refusal: &check::Refusal) -> anyhow::Error {
    told(format_args!("{}: {refusal}", path.display()))
}

/// A symbolic link beside `to`: the image is not copied where a file system consists of layers.
fn link(to: &Path, link: &Path) -> Result<()> {
    let name = to.file_name().with_context(|| format!("{}: not a file's name", to.display()))?;
    Pending::symlink(link, Path::new(name))?.commit()
}
