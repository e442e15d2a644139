//! The kernel laboratory: stock and debug kernels in a virtual machine (QEMU without KVM), to test the kernel module
//! in, and to count instructions.
//!
//! `buildroot` unpacks a Debian release's compiler, headers and kernel into the cache; `kernel` says what can be
//! booted; `module` builds morsel.ko for it and `debug` a kernel full of checks. `initrd` and `disk` make what a
//! guest sees, `guest` runs it, and `console` judges what its kernel said. On top of these, `selftest` runs the module's
//! own tests, `loader` programs under ld-morsel (with `sharing`, whether they share page tables), `icount` counts their
//! instructions, and `evaluate` says what morsels save. `text` makes libraries with much text.

pub mod buildroot;
pub mod console;
pub mod debug;
pub mod disk;
pub mod evaluate;
pub mod guest;
pub mod icount;
pub mod initrd;
pub mod kernel;
pub mod loader;
pub mod module;
pub mod programs;
pub mod selftest;
pub mod sharing;
pub mod text;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{apt, paths, ui};

/// What the laboratory needs on the machine itself.
const NEEDS: &[&str] = &["qemu-system-x86", "bubblewrap", "busybox-static", "e2fsprogs"];

/// Installs what is missing on the machine.
fn setup() -> Result<()> {
    apt::install(NEEDS)
}

/// The folder in the cache for what is the same for every clone: kernels, and what they are built with.
fn cache() -> Result<PathBuf> {
    let dir = paths::cache()?.join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Holds others off the folder in the cache as long as the file is open.
fn lock() -> Result<File> {
    let path = cache()?.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        ui::note(format!("Waiting for another job to finish with {}", cache()?.display()));
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// A folder for what belongs to this clone: builds of the module, and logs.
fn target(sub: &str) -> Result<PathBuf> {
    let dir = paths::repo().join("target/vm").join(sub);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// A folder of this process, which is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    /// An empty one. Removes what processes left that were ended by force: these folders are large.
    fn create(name: &str) -> Result<Self> {
        let all = target("scratch")?;
        for entry in fs::read_dir(&all)?.filter_map(Result::ok) {
            let left = entry.file_name().into_string().ok();
            let process = left.as_deref().and_then(|left| left.rsplit_once('-')).map(|(_, process)| process);
            if process.is_none_or(|process| !Path::new("/proc").join(process).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let dir = all.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next.
        let _ = fs::remove_dir_all(&self.0);
    }
}
