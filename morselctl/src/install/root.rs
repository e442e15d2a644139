//! Paths below a root directory, where symbolic links mean what they mean to programs that have it as their root.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// A root directory.
pub struct Root {
    dir: PathBuf,
}

impl Root {
    /// The root at `dir`.
    ///
    /// # Errors
    /// It is not a directory.
    pub fn open(dir: &Path) -> Result<Self> {
        let dir = fs::canonicalize(dir).with_context(|| format!("no root directory {}", dir.display()))?;
        if !dir.is_dir() {
            bail!("{} is not a directory", dir.display());
        }
        Ok(Self { dir })
    }

    /// Waits until nobody else has a lock on the root, and takes one, for as long as the file is open.
    ///
    /// # Errors
    /// The directory cannot be opened or locked.
    pub fn lock(&self) -> Result<File> {
        let lock = || File::open(&self.dir).and_then(|dir| dir.lock().map(|()| dir));
        lock().with_context(|| format!("cannot lock {}", self.dir.display()))
    }

    /// Where the entry of this name is, itself perhaps a link, with all links on the way to it followed.
    ///
    /// # Errors
    /// The links lead in a circle.
    pub fn entry(&self, path: &str) -> Result<PathBuf> {
        let path = Path::new(path);
        let name = path.file_name().with_context(|| format!("{}: no file's name", path.display()))?;
        Ok(self.resolve(path.parent().unwrap_or(path))?.join(name))
    }

    /// What an entry (of [`Root::entry`]) leads to.
    ///
    /// # Errors
    /// The links lead in a circle.
    pub fn follow(&self, entry: &Path) -> Result<PathBuf> {
        self.resolve(entry.strip_prefix(&self.dir).unwrap_or(entry))
    }

    /// Follows all links in a path that begins at the root. What does not exist is no link.
    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let parts = |path: &Path| -> Vec<OsString> {
            path.components()
                .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
                .map(|part| part.as_os_str().to_owned())
                .collect()
        };
        let mut todo: VecDeque<OsString> = parts(path).into();
        let mut found = self.dir.clone();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                if found != self.dir {
                    found.pop();
                }
                continue;
            }
            let next = found.join(&part);
            let Ok(points_to) = fs::read_link(&next) else {
                found = next;
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                bail!("{}: too many levels of symbolic links", path.display());
            }
            if points_to.is_absolute() {
                found.clone_from(&self.dir);
            }
            for part in parts(&points_to).into_iter().rev() {
                todo.push_front(part);
            }
        }
        Ok(found)
    }
}
