//! Puts musl programs on a guest's disk, linked for several loaders, and counts the instructions of their starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Scratch;
use super::disk::Root;
use super::icount::{self, Counts, Target};
use super::kernel::Kernel;
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

/// What to count.
pub struct Plan<'a> {
    /// Programs of this machine that are linked against musl.
    pub programs: &'a [PathBuf],
    /// Generated ones.
    pub synthetic: &'a [Program],
    /// The loaders to start each of them with.
    pub loaders: &'a [PathBuf],
    /// The environment of all, as `NAME=value`.
    pub environment: &'a [String],
    /// How often to start each; None for what is sensible.
    pub rounds: Option<usize>,
}

impl Plan<'_> {
    fn target(&self, name: &str, program: Option<Program>, loader: &Path, path: &Path) -> Target {
        let loader = loader.file_name().unwrap_or_default().to_string_lossy();
        Target {
            name: format!("{name}:{loader}"),
            command: vec![path.display().to_string()],
            environment: self.environment.to_vec(),
            rounds: self.rounds.unwrap_or_else(|| default_rounds(program)),
        }
    }
}

/// Counts, for every program in turn, the instructions of its start under each of the loaders, with the kernel module
/// loaded if there is one.
pub fn count(kernel: &Kernel, module: Option<&Path>, plan: &Plan) -> Result<Vec<Counts>> {
    let scratch = Scratch::create("icount-root")?;
    let targets = fill(&scratch.0, plan)?;
    icount::measure(kernel, module, &scratch.0, &targets)
}

/// Makes the root that the programs run in.
fn fill(dir: &Path, plan: &Plan) -> Result<Vec<Target>> {
    let mut root = Root::create(dir)?;
    let mut targets = Vec::new();
    for loader in plan.loaders {
        root.copy(loader)?;
    }
    for program in plan.programs {
        let program = std::path::absolute(program)?;
        if !program.is_file() {
            bail!("{} is not a file", program.display());
        }
        root.musl_program(&program, Path::new(paths::STOCK))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (number, loader) in plan.loaders.iter().enumerate() {
            // Beside the program, so that $ORIGIN stays the same.
            let copy = program.with_file_name(format!("{name}.{number}"));
            let place = root.place(&copy);
            fs::copy(&program, &place).with_context(|| format!("cannot copy {}", program.display()))?;
            let mut patchelf = proc::command("patchelf");
            proc::output(patchelf.arg("--set-interpreter").arg(loader).arg(place))?;
            targets.push(plan.target(&name, None, loader, &copy));
        }
    }
    for &program in plan.synthetic {
        let linked = program.build(&plan.loaders.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        for (loader, linked) in plan.loaders.iter().zip(linked) {
            root.musl_program(&linked, Path::new(paths::STOCK))?;
            targets.push(plan.target(program.name(), Some(program), loader, &linked));
        }
    }
    Ok(targets)
}
