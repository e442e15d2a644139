//! A small Debian in the cache, to build kernel code in: the packages of one release, merely unpacked, entered by
//! bubblewrap. The compiler is the one that built the release's kernel, and `/usr/src` is where headers expect it;
//! nothing is installed on the machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{cache, lock};
use crate::apt::Release;
use crate::{paths, proc, ui};

/// What makes shell scripts and makefiles run. The libraries and the compiler come as dependencies.
const BASE: &[&str] =
    &["base-files", "coreutils", "dash", "diffutils", "findutils", "grep", "kmod", "make", "mawk", "sed"];

/// The unpacked system.
pub struct BuildRoot {
    dir: PathBuf,
}

impl BuildRoot {
    /// Makes sure that there is a root of this name with these packages of Debian `suite`.
    pub fn provide(name: &str, suite: &'static str, packages: &[&str]) -> Result<Self> {
        let _lock = lock()?;
        let dir = cache()?.join(name).join("root");
        let stamp = dir.with_extension("stamp");
        let key = paths::content_key(&[BASE, &[suite], packages].concat());
        if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == key) {
            return Ok(Self { dir });
        }
        let begin = Instant::now();
        let spinner = ui::spinner(format!("fetching {} of Debian {suite}", packages.join(" ")));
        let made = unpack(&dir, suite, packages);
        spinner.finish_and_clear();
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        fs::write(&stamp, key)?;
        ui::step("Fetched", format!("{} in {}", packages.join(" "), ui::duration(begin.elapsed())));
        Ok(Self { dir })
    }

    /// A file of it, by its path inside.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        self.dir.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// A command to run inside, which sees the folder `work` as /work, its working directory.
    pub fn command(&self, work: &Path, program: &str) -> Command {
        let mut command = proc::command("bwrap");
        command.arg("--bind").arg(&self.dir).arg("/").arg("--bind").arg(work).arg("/work");
        command.args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--chdir", "/work"]);
        command.args(["--die-with-parent", "--clearenv", "--setenv", "LC_ALL", "C"]);
        command.args(["--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", program]);
        command
    }
}

fn unpack(dir: &Path, suite: &'static str, packages: &[&str]) -> Result<()> {
    // What an interrupted attempt left, or another choice of packages.
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    Release::open(suite)?.unpack_with_needs(&[BASE, packages].concat(), dir)?;
    // The only alternative that kernel builds use; its link would be made by a maintainer script.
    symlink("mawk", dir.join("usr/bin/awk"))?;
    fs::create_dir_all(dir.join("work"))?;
    Ok(())
}
