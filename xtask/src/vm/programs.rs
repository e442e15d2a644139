//! Puts musl programs on a guest's disk, linked for several loaders, and counts the instructions of their starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::Scratch;
use super::disk::Root;
use super::guest::quote;
use super::icount::{self, Counts, Hold, Target};
use super::kernel::Kernel;
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
pub fn generated(name: &str) -> Result<PathBuf> {
    let workload = workload::standard().into_iter().find(|workload| workload.name == name);
    match workload.map(|workload| workload.kind) {
        Some(Kind::Synthetic(spec)) => {
            let folder = compile::program(&Synthetic { name: name.to_owned(), spec }, Flavour::Musl)?;
            Ok(folder.join(compile::PROGRAM))
        }
        _ => bail!("{name} is not a generated workload of the benchmark"),
    }
}

/// What to count.
pub struct Plan<'a> {
    /// Programs of this machine that are linked against musl.
    pub programs: &'a [PathBuf],
    /// Generated ones, by the names of the benchmark's workloads.
    pub synthetic: &'a [String],
    /// The loaders to start each of them with.
    pub loaders: &'a [PathBuf],
    /// The environment of all, as `NAME=value`.
    pub environment: &'a [String],
    /// A static morselctl, if starts with an image shall be counted, too.
    pub tool: Option<&'a Path>,
    /// How often to start each; None for what is sensible.
    pub rounds: Option<usize>,
}

/// Counts, for every program in turn, the instructions of its start under each of the loaders, with the kernel module
/// loaded if there is one.
pub fn count(kernel: &Kernel, module: Option<&Path>, plan: &Plan) -> Result<Vec<Counts>> {
    let scratch = Scratch::create("icount-root")?;
    let targets = fill(&scratch.0, plan)?;
    icount::measure(kernel, &Vec::from_iter(module), &scratch.0, &targets)
}

/// Makes the root that the programs run in.
fn fill(dir: &Path, plan: &Plan) -> Result<Vec<Target>> {
    let mut root = Root::create(dir)?;
    let mut targets = Vec::new();
    let later = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 60;
    for loader in plan.loaders {
        root.copy(loader)?;
    }
    if let Some(tool) = plan.tool {
        root.copy(tool)?;
    }
    let given = plan.programs.iter().map(|program| {
        let program = std::path::absolute(program)?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        anyhow::Ok((program, name, default_rounds(None)))
    });
    let generated =
        plan.synthetic.iter().map(|name| Ok((generated(name)?, name.clone(), default_rounds(Some(name)))));
    for program in given.chain(generated) {
        let (program, name, usual_rounds) = program?;
        if !program.is_file() {
            bail!("{} is not a file", program.display());
        }
        root.musl_program(&program, Path::new(paths::STOCK))?;
        for (number, loader) in plan.loaders.iter().enumerate() {
            // Beside the program, so that $ORIGIN stays the same.
            let copy = program.with_file_name(format!("{name}.{number}"));
            let place = root.place(&copy);
            fs::copy(&program, &place).with_context(|| format!("cannot copy {}", program.display()))?;
            let mut patchelf = proc::command("patchelf");
            proc::output(patchelf.arg("--set-interpreter").arg(loader).arg(place))?;
            let is_stock = loader == Path::new(paths::STOCK);
            let loader = loader.file_name().unwrap_or_default().to_string_lossy();
            let target = Target {
                root: icount::DISK,
                setting: Default::default(),
                name: format!("{name}:{loader}"),
                command: vec![copy.display().to_string()],
                environment: plan.environment.to_vec(),
                rounds: plan.rounds.unwrap_or(usual_rounds),
                others: (0, Hold::Mark),
                others_map: None,
            };
            targets.push(target.clone());
            // The guest's own files are what an image depends on, so that it is built there, when these are old enough by its clock.
            let tool = plan.tool.filter(|_| !is_stock);
            targets.extend(tool.map(|tool| {
                let words =
                    ["chroot", icount::DISK, &tool.display().to_string(), "build", &target.command[0]];
                let build = words.map(quote).join(" ");
                let setting = format!(
                    "date -s @{later} >/dev/null\n{build} 2>/build.log || {{ tail -n 1 /build.log; exit 1; }}"
                );
                let environment =
                    target.environment.iter().cloned().chain(["LD_MORSEL_IMAGE=require".into()]);
                Target {
                    setting: (setting, String::new()),
                    name: format!("{name}:image"),
                    environment: environment.collect(),
                    ..target
                }
            }));
        }
    }
    Ok(targets)
}
