//! Puts musl programs on a guest's disk, linked for several loaders, and counts the instructions of their starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::disk::Root;
use super::icount::{self, Counts, Target};
use super::kernel::Kernel;
use super::target;
use crate::bench::compile::{self, Flavour, Synthetic};
use crate::bench::workload::{self, Kind};
use crate::{paths, proc};

/// How often a program is started unless the caller says: often enough that two runs agree to a thousandth, and a
/// ten thousandth for large ones.
fn default_rounds(synthetic: Option<&str>) -> usize {
    match synthetic {
        Some("hello") => 300,
        Some("grid-100" | "grid-300") => 15,
        _ => 60,
    }
}

/// A standard workload of the benchmark that is generated, compiled for musl.
fn generated(name: &str) -> Result<PathBuf> {
    let workload = workload::standard().into_iter().find(|workload| workload.name == name);
    match workload.map(|workload| workload.kind) {
        Some(Kind::Synthetic(spec)) => {
            compile::program(&Synthetic { name: name.to_owned(), spec }, Flavour::Musl)
        }
        _ => bail!("{name} is not a generated workload of the benchmark"),
    }
}

/// Counts, for every program in turn, the instructions of its start under each of the loaders.
pub fn count(
    kernel: &Kernel,
    programs: &[PathBuf],
    synthetic: &[String],
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
    synthetic: &[String],
    loaders: &[PathBuf],
    rounds: Option<usize>,
) -> Result<Vec<Target>> {
    let mut root = Root::create(dir)?;
    let mut targets = Vec::new();
    for loader in loaders {
        root.copy(loader)?;
    }
    let given = programs.iter().map(|program| {
        let program = std::path::absolute(program)?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        anyhow::Ok((program, name, default_rounds(None)))
    });
    let generated =
        synthetic.iter().map(|name| Ok((generated(name)?, name.clone(), default_rounds(Some(name)))));
    for program in given.chain(generated) {
        let (program, name, usual_rounds) = program?;
        if !program.is_file() {
            bail!("{} is not a file", program.display());
        }
        root.musl_program(&program, Path::new(paths::STOCK))?;
        for (number, loader) in loaders.iter().enumerate() {
            // Beside the program, so that $ORIGIN stays the same.
            let copy = program.with_file_name(format!("{name}.{number}"));
            let place = root.place(&copy);
            fs::copy(&program, &place).with_context(|| format!("cannot copy {}", program.display()))?;
            let mut patchelf = proc::command("patchelf");
            proc::output(patchelf.arg("--set-interpreter").arg(loader).arg(place))?;
            targets.push(target_of(&name, loader, &copy, rounds.unwrap_or(usual_rounds)));
        }
    }
    Ok(targets)
}

fn target_of(program: &str, loader: &Path, path: &Path, rounds: usize) -> Target {
    let loader = loader.file_name().unwrap_or_default().to_string_lossy();
    Target { name: format!("{program}:{loader}"), command: vec![path.display().to_string()], rounds }
}
