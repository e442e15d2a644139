//! Builds a case, once for each loader.
//!
//! The copies are built by the same commands and differ only in the programs' `PT_INTERP`, so that what a
//! program prints about itself is the same everywhere. A copy is built again when the case, the loader's
//! path or these commands change.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::case::{BuildStep, Case};
use crate::elf_edit;
use crate::worlds::{BuildCopy, Loaders};

/// Changed by hand when the build commands change in a way that the hash of a case does not show.
const RECIPE: u32 = 1;

const LIB: &str = "musl-gcc -shared -fPIC -O1 -Wl,--no-as-needed -L. -o";
const PROG: &str = "musl-gcc -O1 -Wl,--no-as-needed -L. -Wl,-rpath-link,. -Wl,--allow-shlib-undefined \
                    -Wl,--dynamic-linker='{interp}'";

/// Makes sure that `copy` of the case is built and returns its folder.
pub fn ensure_built(case: &Case, copy: BuildCopy, loaders: &Loaders, root: &Path) -> Result<PathBuf> {
    let folder = root.join(&case.name);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // Two test runs may be at work on the same folder.
    let lock_path = folder.join("lock");
    let lock = File::create(&lock_path).with_context(|| lock_path.display().to_string())?;
    lock.lock().with_context(|| lock_path.display().to_string())?;

    let interp = loaders.for_copy(copy)?;
    let dir = folder.join(copy.as_str());
    let stamp_path = folder.join(format!("{}.stamp", copy.as_str()));
    let stamp = stamp(case, interp);
    if fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp) {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    write_sources(case, &dir)?;
    for step in &case.steps {
        run_step(case, step, &dir, interp)
            .with_context(|| format!("cannot build {} ({})", case.path.display(), copy.as_str()))?;
    }
    fs::write(&stamp_path, stamp).with_context(|| stamp_path.display().to_string())?;
    Ok(dir)
}

fn run_step(case: &Case, step: &BuildStep, dir: &Path, interp: &Path) -> Result<()> {
    let fill = |text: &str| {
        text.replace("{interp}", &interp.display().to_string()).replace("{dir}", &dir.display().to_string())
    };
    match step {
        BuildStep::Lib { output, arguments } => sh(&fill(&format!("{LIB} {output} {arguments}")), dir),
        BuildStep::Prog { output, arguments } => {
            let rpath = case.rpath.as_ref().map_or(String::new(), |path| format!("-Wl,-rpath,'{path}'"));
            sh(&fill(&format!("{PROG} {rpath} -o {output} {arguments}")), dir)
        }
        BuildStep::Make { command } => sh(&fill(command), dir),
        BuildStep::Patch { file, edit } => elf_edit::apply_to_file(&dir.join(file), edit),
    }
}

fn write_sources(case: &Case, dir: &Path) -> Result<()> {
    for source in &case.sources {
        let path = dir.join(&source.name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        let is_c = path.extension().is_some_and(|e| e == "c" || e == "h");
        let text = match is_c {
            true => format!("#line {} \"{}\"\n{}", source.first_line, case.path.display(), source.text),
            false => source.text.clone(),
        };
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn sh(command: &str, dir: &Path) -> Result<()> {
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(dir)
        .output()
        .with_context(|| format!("cannot run sh for `{command}`"))?;
    if !output.status.success() {
        bail!("`{command}` failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn stamp(case: &Case, interp: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    (RECIPE, LIB, PROG, interp, &case.rpath).hash(&mut hasher);
    for source in &case.sources {
        (&source.name, source.first_line, &source.text).hash(&mut hasher);
    }
    for step in &case.steps {
        format!("{step:?}").hash(&mut hasher);
    }
    format!("{:016x}\n", hasher.finish())
}
