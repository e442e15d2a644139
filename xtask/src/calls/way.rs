//! Ways of loading a program of many calls: what the columns of the tables are.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::program::{Libc, Program, Shape};
use crate::{paths, proc};

/// The passes over images that are measured.
pub const PASSES: [&str; 3] = ["concatenate", "huge-pages", "direct-calls"];

/// Choices of passes as columns of tables: a name, and what `morselctl build --passes` is told. None, each, and all.
pub fn choices() -> Vec<(&'static str, String)> {
    let each = PASSES.map(|pass| (pass, pass.to_owned()));
    [("image", "none".to_owned())].into_iter().chain(each).chain([("all passes", PASSES.join(","))]).collect()
}

/// A way.
pub struct Way {
    /// Its name in tables.
    pub name: String,
    /// The program, prepared for it.
    pub program: Program,
    /// What its environment has in addition.
    environment: Vec<(&'static str, String)>,
}

impl Way {
    /// A command that runs it.
    pub fn command(&self) -> Command {
        let mut command = proc::command(&self.program.file);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// All ways with so many libraries of the usual shape, or of this one instead; separate libraries under stock musl come first. And
/// remarks on ways that there are not.
pub fn ways(libraries: usize, usual: Shape, loader: &Path, tool: &Path) -> Result<(Vec<Way>, Vec<String>)> {
    let stock = Program::make(libraries, Libc::Musl, usual, None)?;
    let mut ways =
        vec![Way { name: "separate libraries".to_owned(), program: stock, environment: Vec::new() }];
    let mut remarks = Vec::new();
    for (name, passes) in choices() {
        for (shape, suffix) in [(usual, ""), (Shape::Far, ", far")] {
            if shape == Shape::Far && usual == Shape::Alike {
                continue;
            }
            if passes == "huge-pages" && shape == usual {
                continue; // libraries in one piece have no code that is 2 MiB long
            }
            let program = Program::make(libraries, Libc::Musl, shape, Some(loader))?;
            let image = image(tool, &program, &passes)?;
            let environment = vec![("LD_MORSEL_IMAGE", format!("require:{image}"))];
            ways.push(Way { name: format!("{name}{suffix}"), program, environment });
        }
    }
    let glibc = |name: &str, environment| -> Result<Way> {
        let program = Program::make(libraries, Libc::Glibc, usual, None)?;
        Ok(Way { name: name.to_owned(), program, environment })
    };
    let now = ("LD_BIND_NOW", "1".to_owned());
    ways.push(glibc("glibc", vec![now.clone()])?);
    match rewrites_stubs()? {
        None => {
            let tunable = ("GLIBC_TUNABLES", "glibc.cpu.plt_rewrite=2".to_owned());
            ways.push(glibc("glibc, plt_rewrite=2", vec![now, tunable])?);
        }
        Some(why_not) => remarks.push(format!("glibc's `plt_rewrite` is not measured: {why_not}.")),
    }
    Ok((ways, remarks))
}

/// Builds an image, proves it, and returns its path.
fn image(tool: &Path, program: &Program, passes: &str) -> Result<String> {
    let folder = program.file.parent().context("a program without a folder")?;
    let image = folder.join(format!("image-{}", passes.replace(',', "-")));
    proc::output(
        proc::command(tool).arg("build").arg(&program.file).args(["--passes", passes, "-o"]).arg(&image),
    )?;
    proc::output(proc::command(tool).arg("verify").arg(&image))?;
    Ok(image.display().to_string())
}

/// Why glibc does not rewrite its stubs here; `None` if it does.
fn rewrites_stubs() -> Result<Option<String>> {
    let version = |command: &[&str]| -> Result<(u32, u32)> {
        let said = proc::output(proc::command(command[0]).args(&command[1..]))?;
        let last = said.lines().next().and_then(|line| line.split_whitespace().last()).unwrap_or_default();
        let mut numbers = last.split('.').filter_map(|number| number.parse().ok());
        Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
    };
    let (glibc, linker) = (version(&["ldd", "--version"])?, version(&["ld", "--version"])?);
    let old = |(major, minor), least: &str, what| format!("{what} {major}.{minor} cannot, {least} can");
    Ok(if glibc < (2, 39) {
        Some(old(glibc, "2.39", "glibc"))
    } else if linker < (2, 41) {
        // It has to mark the stubs (`-z mark-plt`).
        Some(old(linker, "2.41", "GNU ld"))
    } else {
        None
    })
}

/// Where our loader and the tool are looked for by path: images name the loader.
pub fn cached_loader(loader: &Path) -> Result<std::path::PathBuf> {
    let copy = paths::cache()?.join("calls").join("ld-morsel");
    fs::create_dir_all(paths::cache()?.join("calls"))?;
    let new = copy.with_extension("new");
    fs::copy(loader, &new).with_context(|| loader.display().to_string())?;
    fs::rename(&new, &copy)?;
    Ok(copy)
}
