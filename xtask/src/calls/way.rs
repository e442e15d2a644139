//! Ways of loading a program of many calls: what the columns of the tables are.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
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
    /// The image that it uses.
    image: Option<Image>,
}

/// How an image is built.
struct Image {
    tool: PathBuf,
    passes: String,
    file: PathBuf,
}

impl Way {
    fn separate(name: &str, program: Program, environment: Vec<(&'static str, String)>) -> Self {
        Self { name: name.to_owned(), program, environment, image: None }
    }

    /// Puts all that is called at other places in memory, physical and virtual ones: what calls cost depends on them, and they are
    /// a matter of luck. An image is built anew, with its libraries in an order that is drawn; pages of files are forgotten by the
    /// kernel, so that they come back from the disk, elsewhere.
    ///
    /// # Errors
    /// A file cannot be built or read.
    pub fn place_anew(&self) -> Result<()> {
        match &self.image {
            Some(image) => {
                image.build(&self.program)?;
                forget(&image.file)
            }
            None => self.program.shared_libraries()?.iter().try_for_each(|library| forget(library)),
        }
    }

    /// A command that runs it.
    pub fn command(&self) -> Command {
        let mut command = proc::command(&self.program.file);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// All ways with so many libraries of the usual shape, or of this one instead; separate libraries under stock musl come first, and then
/// the same again, which tells what differences mean. And remarks on ways that there are not.
pub fn ways(libraries: usize, usual: Shape, loader: &Path, tool: &Path) -> Result<(Vec<Way>, Vec<String>)> {
    let stock = |name, shape| -> Result<Way> {
        Ok(Way::separate(name, Program::make(libraries, Libc::Musl, shape, None)?, Vec::new()))
    };
    let mut ways = vec![stock("separate libraries", usual)?, stock("again", usual)?];
    if usual != Shape::Alike {
        ways.push(stock("separate, far", Shape::Far)?);
    }
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
            ways.push(in_image(format!("{name}{suffix}"), program, tool, &passes)?);
        }
    }
    let glibc = |name: &str, environment| -> Result<Way> {
        Ok(Way::separate(name, Program::make(libraries, Libc::Glibc, usual, None)?, environment))
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

/// A way through an image, which is built and proved.
fn in_image(name: String, program: Program, tool: &Path, passes: &str) -> Result<Way> {
    let folder = program.file.parent().context("a program without a folder")?;
    let file = folder.join(format!("image-{}", passes.replace(',', "-")));
    let passes = if passes == "none" { "order=random".to_owned() } else { format!("{passes},order=random") };
    let environment = vec![("LD_MORSEL_IMAGE", format!("require:{}", file.display()))];
    let image = Image { tool: tool.to_owned(), passes, file };
    image.build(&program)?;
    proc::output(proc::command(tool).arg("verify").arg(&image.file))?;
    Ok(Way { name, program, environment, image: Some(image) })
}

impl Image {
    fn build(&self, program: &Program) -> Result<()> {
        let mut build = proc::command(&self.tool);
        build.arg("build").arg(&program.file).args(["--passes", &self.passes, "-o"]).arg(&self.file);
        proc::output(&mut build).map(|_| ())
    }
}

/// Has the kernel forget the pages that it keeps of a file.
fn forget(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    file.sync_data().with_context(|| path.display().to_string())?; // it keeps what is not written
    // SAFETY: only pages that the kernel can read again are given up.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(error)).with_context(|| path.display().to_string()),
    }
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
