//! Folders that live as long as one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// A new empty folder, removed on drop.
///
/// (The `tempfile` crate would bring in rustix with `std`, which the loader builds without.)
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder below the system's temporary folder, where other users can reach it.
    pub fn new() -> Result<Scratch> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("difftest-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Scratch(path))
    }

    /// Copies `folder` into the scratch folder, links as links, and returns the copy.
    pub fn copy_of(&self, folder: &Path) -> Result<PathBuf> {
        let copy = self.0.join("copy");
        let status = Command::new("cp").arg("-a").args([folder, &copy]).status().context("cannot run cp")?;
        ensure!(status.success(), "cannot copy {} to {}", folder.display(), copy.display());
        Ok(copy)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a folder that cannot be removed, and nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
