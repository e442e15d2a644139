//! Puts musl programs on a guest's disk, linked for several loaders, and counts the instructions of their starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::disk::Root;
use super::icount::{self, Counts, Target};
use super::kernel::Kernel;
use super::target;
use crate::bench::synthetic::Program;
use crate::{paths, proc};

/// How often a program is started unless the caller says: often enough that two runs agree to a thousandth, and a
/// ten thousandth for large ones.
fn default_rounds(program: Option<Program>) -> usize {
    match program {
        Some(Program::Hello) => 300,
        Some(Program::Grid10) | None => 60,
        Some(Program::Grid100) => 15,
    }
}

/// Counts, for every program in turn, the instructions of its start under each of the loaders.
pub fn count(
    kernel: &Kernel,
    programs: &[PathBuf],
    synthetic: &[Program],
    loaders: &[PathBuf],
    rounds: Option<usize>,
) -> Result<Vec<Counts>> {
    let dir = target(&format!("icount-root-{}", std::process::id()))?;
    let counted = fill(&dir, programs, synthetic, loaders, rounds)
        .and_then(|targets| icount::measure(kernel, &dir, &targets));
    fs::remove_dir_all(&dir)?;
    counted
}

/// Makes the root that the programs run in.
fn fill(
    dir: &Path,
    programs: &[PathBuf],
    synthetic: &[Program],
    loaders: &[PathBuf],
    rounds: Option<usize>,
) -> Result<Vec<Target>> {
    let mut root = Root::create(dir)?;
    let mut targets = Vec::new();
    for loader in loaders {
        root.copy(loader)?;
    }
    for program in programs {
        let program = std::path::absolute(program)?;
        if !program.is_file() {
            bail!("{} is not a file", program.display());
        }
        root.musl_program(&program, Path::new(paths::STOCK))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (number, loader) in loaders.iter().enumerate() {
            // Beside the program, so that $ORIGIN stays the same.
            let copy = program.with_file_name(format!("{name}.{number}"));
            let place = root.place(&copy);
            fs::copy(&program, &place).with_context(|| format!("cannot copy {}", program.display()))?;
            let mut patchelf = proc::command("patchelf");
            proc::output(patchelf.arg("--set-interpreter").arg(loader).arg(place))?;
            targets.push(target_of(&name, loader, &copy, rounds.unwrap_or_else(|| default_rounds(None))));
        }
    }
    for program in synthetic {
        let rounds = rounds.unwrap_or_else(|| default_rounds(Some(*program)));
        let linked = program.build(&loaders.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        for (loader, linked) in loaders.iter().zip(linked) {
            root.musl_program(&linked, Path::new(paths::STOCK))?;
            targets.push(target_of(program.name(), loader, &linked, rounds));
        }
    }
    Ok(targets)
}

fn target_of(program: &str, loader: &Path, path: &Path, rounds: usize) -> Target {
    let loader = loader.file_name().unwrap_or_default().to_string_lossy();
    Target { name: format!("{program}:{loader}"), command: vec![path.display().to_string()], rounds }
}
