//! What the user can ask for where images are concerned: `build`, `verify`, `list` and `drop`. What administrators need is in
//! `admin`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::proof::{self, Proved};
use super::{
    Circumstances, ImageFile, Made, build_into, files, inspect, make_directory, name_of, passes,
    portable_name_of, remove, usual_place,
};
use crate::progress::Progress;

/// Options of `build`.
#[derive(clap::Args)]
#[command(after_help = passes::help())]
pub struct BuildArgs {
    /// The programs; their libraries are in the image once
    #[arg(required = true, value_name = "PROGRAM", value_hint = clap::ValueHint::FilePath)]
    programs: Vec<PathBuf>,
    /// Make an image for each program
    #[arg(long)]
    each: bool,
    /// Where to put the image; default: where the loader looks
    #[arg(short, long, value_name = "IMAGE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// The directory of the images; default: where the loader looks
    #[arg(long, value_name = "DIR", conflicts_with = "output", value_hint = clap::ValueHint::DirPath)]
    into: Option<PathBuf>,
    /// Make an image that other machines and containers can use, which have the same files
    #[arg(long)]
    portable: bool,
    #[command(flatten)]
    circumstances: Circumstances,
}

/// Options of `verify`.
#[derive(clap::Args)]
pub struct FileArgs {
    /// The images
    #[arg(required = true, value_name = "IMAGE", value_hint = clap::ValueHint::FilePath)]
    images: Vec<PathBuf>,
    /// Print a JSON array with an object for each image
    #[arg(long)]
    json: bool,
}

/// Options of `list`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// The directory; default: where `build` puts images
    #[arg(value_hint = clap::ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// Print a JSON array with an object for each image
    #[arg(long)]
    json: bool,
}

/// Options of `drop`.
#[derive(clap::Args)]
pub struct DropArgs {
    /// The programs
    #[arg(required = true, value_name = "PROGRAM", value_hint = clap::ValueHint::FilePath)]
    programs: Vec<PathBuf>,
    /// The directory of the images; default: where `build` puts them
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    from: Option<PathBuf>,
}

/// What `verify --json` tells of an image.
#[derive(Serialize)]
struct Verdict<'a> {
    path: &'a Path,
    valid: bool,
    /// The programs that it is for, if it is valid.
    programs: Option<Vec<PathBuf>>,
    /// What has been proved of its code.
    proved: Option<Proved>,
    /// Why it may not be used.
    reason: Option<String>,
}

/// What `list --json` tells of an image.
#[derive(Serialize)]
struct Listed<'a> {
    path: &'a Path,
    #[serde(flatten)]
    summary: Option<inspect::Summary>,
    /// Why there is nothing to be told.
    error: Option<String>,
}

/// `morselctl verify`
pub fn run_verify(args: &FileArgs) -> Result<()> {
    let mut verdicts = Vec::new();
    for path in &args.images {
        let image = ImageFile::read(path).and_then(|image| image.with_context(|| not_an_image(path)));
        let verified = image.and_then(|image| Ok((inspect::verify(&image)?, proof::check(&image)?)));
        let (programs, proved, reason) = match verified {
            Ok((programs, proved)) => (Some(programs), Some(proved), None),
            Err(error) => (None, None, Some(format!("{error:#}"))),
        };
        match (&programs, &reason) {
            _ if args.json => {}
            (Some(programs), _) => {
                let programs = programs.iter().map(|program| program.display().to_string());
                print!("{}: valid, for {}", path.display(), programs.collect::<Vec<_>>().join(", "));
                match proved.unwrap_or_default() {
                    Proved { direct: 0, .. } => println!(),
                    Proved { direct, libraries } => {
                        println!(
                            "; proved: {direct} calls and addresses made direct in {libraries} libraries"
                        );
                    }
                }
            }
            (_, Some(reason)) => eprintln!("morselctl: {reason}"),
            (None, None) => {}
        }
        verdicts.push(Verdict { path, valid: reason.is_none(), programs, proved, reason });
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&verdicts)?);
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.valid).count();
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
    let paths = files(&directory)?;
    let mut listed = Vec::new();
    for path in &paths {
        let summary = match ImageFile::read(path) {
            Ok(Some(image)) => inspect::summary(&image),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        let (summary, error) = match summary {
            Ok(summary) => (Some(summary), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        if !args.json {
            let said = summary.as_ref().map(ToString::to_string).or_else(|| error.clone());
            println!("{}  {}", path.display(), said.unwrap_or_default());
        }
        listed.push(Listed { path, summary, error });
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&listed)?);
    }
    Ok(())
}

/// `morselctl drop`
pub fn run_drop(args: &DropArgs) -> Result<()> {
    let directory = args.from.clone().map_or_else(usual_place, Ok)?;
    for program in &args.programs {
        let usual = directory.join(name_of(program)?);
        let portable = directory.join(portable_name_of(program)?);
        let both = [&portable, &usual].into_iter().filter(|path| path.exists() && !path.is_symlink());
        let mut paths: Vec<_> = both.collect();
        if paths.is_empty() {
            paths.push(&usual);
        }
        for path in paths {
            remove(path).with_context(|| program.display().to_string())?;
        }
    }
    Ok(())
}

/// `morselctl build`
pub fn run_build(args: &BuildArgs) -> Result<()> {
    let groups: Vec<&[PathBuf]> = match args.each {
        true => args.programs.chunks(1).collect(),
        false => vec![&args.programs],
    };
    if args.output.is_some() && groups.len() > 1 {
        bail!("--output is for one image");
    }
    let progress = Progress::new(groups.len());
    let mut failed = 0;
    for group in &groups {
        progress.begin(&group[0]);
        match build_one(group, args) {
            Ok(made) => progress.say(&made),
            Err(error) => {
                progress.complain(&error);
                failed += 1;
            }
        }
        progress.step();
    }
    progress.end();
    if failed > 0 {
        bail!("{failed} of {} images could not be built", groups.len());
    }
    Ok(())
}

fn build_one(programs: &[PathBuf], args: &BuildArgs) -> Result<Made> {
    let place = |name: &OsStr| match (&args.output, &args.into) {
        (Some(path), _) => Ok(path.clone()),
        (None, Some(directory)) => Ok(directory.join(name)),
        (None, None) => {
            let directory = usual_place()?;
            make_directory(&directory)?;
            Ok(directory.join(name))
        }
    };
    let circumstances = Circumstances { portable: args.portable, ..args.circumstances.clone() };
    build_into(programs, &circumstances, place)
}

/// The options of `build` that stand for these circumstances.
pub fn circumstances_as_arguments(circumstances: &Circumstances) -> Vec<OsString> {
    let Circumstances { library_path, preload, libc, passes, portable } = circumstances;
    let passes = &Some(OsString::from(passes.to_string()));
    let options = [
        ("--library-path=", library_path),
        ("--preload=", preload),
        ("--libc=", libc),
        ("--passes=", passes),
    ];
    let option = |(name, value): (&str, &Option<OsString>)| {
        let mut option = OsString::from(name);
        option.push(value.as_ref()?);
        Some(option)
    };
    let portable = portable.then(|| OsString::from("--portable"));
    options.into_iter().filter_map(option).chain(portable).collect()
}
