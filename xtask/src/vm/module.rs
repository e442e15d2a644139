//! Builds the kernel module, and the programs that test it, in a copy of `kernel/` for each kernel, so that builds
//! for two kernels do not meet.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use super::kernel::Kernel;
use super::target;
use crate::{paths, proc, ui};

/// The module in this repository.
fn folder() -> PathBuf {
    paths::repo().join("kernel")
}

/// The files that make the module, and its tests if asked for, relative to `kernel/`; none of what an earlier build
/// left there.
pub fn sources(tests: bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let wanted = |name: &str| tests || name != "tests";
    let walk = WalkDir::new(folder()).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| !product(&entry.file_name().to_string_lossy())) {
        let entry = entry.with_context(|| format!("cannot read {}", folder().display()))?;
        let path = entry.path().strip_prefix(folder())?;
        let top = path.iter().next().unwrap_or_default();
        if entry.file_type().is_file() && wanted(&top.to_string_lossy()) {
            files.push(path.to_owned());
        }
    }
    Ok(files)
}

/// Whether a build makes files or folders of this name.
fn product(name: &str) -> bool {
    let ends = [".o", ".ko", ".a", ".mod", ".mod.c", ".symvers", ".order"];
    name.starts_with('.') || name == "out" || ends.iter().any(|end| name.ends_with(end))
}

/// Makes `into` hold what these files hold: changed ones are written, so that only they are compiled again, and
/// sources that are no longer there are removed.
pub fn mirror(files: &[PathBuf], into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    for entry in WalkDir::new(into) {
        let entry = entry?;
        let path = entry.path().strip_prefix(into)?;
        let source = path.extension().is_some_and(|extension| extension == "c" || extension == "h");
        let made = product(&entry.file_name().to_string_lossy());
        if source && !made && !files.iter().any(|file| file == path) {
            fs::remove_file(entry.path())?;
        }
    }
    for file in files {
        let (from, to) = (folder().join(file), into.join(file));
        let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        if fs::read(&to).ok().as_ref() == Some(&content) {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&to, content).with_context(|| format!("cannot write {}", to.display()))?;
        fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
    }
    Ok(())
}

/// The folder of a build: laid out as `kernel/`, with `morsel.ko` unless the kernel has the module built in.
pub struct Build {
    /// The folder.
    pub dir: PathBuf,
}

impl Build {
    /// Builds the module for a kernel.
    pub fn module(kernel: &Kernel) -> Result<Self> {
        let files = sources(true)?;
        if files.is_empty() {
            bail!("there is no module in {}", folder().display());
        }
        let dir = target(&format!("module-{}", kernel.flavour.name()))?;
        mirror(&files, &dir)?;
        if kernel.has_modules() {
            let log = target("logs")?.join(format!("module-{}.log", kernel.flavour.name()));
            let mut make = kernel.root().command(&dir, "make");
            make.arg(format!("KDIR={}", kernel.headers()));
            proc::logged(&mut make, &log)
                .with_context(|| format!("cannot build the module for {}", kernel.release))?;
            // The compiler's warnings are in the log only.
            let text = fs::read_to_string(&log).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.contains("warning:")) {
                ui::note(format!("{line} (more in {})", log.display()));
            }
        }
        Ok(Self { dir })
    }

    /// Builds another module, of one source, that knows the module's user-space header.
    pub fn another(&self, kernel: &Kernel, name: &str, source: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("{name}.c")), source)?;
        fs::write(dir.join("Kbuild"), format!("obj-m := {name}.o\nccflags-y := -I$(src)/../include/uapi\n"))?;
        let mut make = kernel.root().command(&self.dir, "make");
        make.args(["-C", &kernel.headers(), &format!("M=/work/{name}"), "modules"]);
        proc::logged(&mut make, &target("logs")?.join(format!("{name}.log")))
            .with_context(|| format!("cannot build {name}.ko for {}", kernel.release))?;
        Ok(dir.join(format!("{name}.ko")))
    }

    /// Builds the programs that test the module.
    pub fn tests(&self) -> Result<PathBuf> {
        let dir = self.dir.join("tests");
        let log = target("logs")?.join("module-tests.log");
        proc::logged(proc::command("make").arg("-C").arg(&dir), &log)
            .context("cannot build the module's tests")?;
        Ok(dir)
    }

    /// The module's file, unless it is built in.
    pub fn file(&self) -> Option<PathBuf> {
        Some(self.dir.join("morsel.ko")).filter(|path| path.exists())
    }
}
