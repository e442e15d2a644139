//! Putting a file in its place: under a temporary name in the same directory first, on the disk, and then by a rename, so
//! that whoever looks sees the old file or the new one.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file that has no name of its own yet. Dropped without [`Pending::commit`], it disappears.
pub struct Pending {
    temporary: PathBuf,
    target: PathBuf,
}

impl Pending {
    /// `content`, to become `target`, with the permissions and (if we may) the owner of `like`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(target: &Path, content: &[u8], like: &Metadata) -> Result<Self> {
        Self::create(target, |path| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(content)?;
            if let Err(error) = fchown(&file, Some(like.uid()), Some(like.gid()))
                && error.kind() != io::ErrorKind::PermissionDenied
            {
                return Err(error);
            }
            file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
            file.sync_all()
        })
    }

    /// A further name of the file at `original`, or a copy where the file system allows no further name.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn link_or_copy(target: &Path, original: &Path) -> Result<Self> {
        if let Ok(linked) = Self::create(target, |path| fs::hard_link(original, path)) {
            return Ok(linked);
        }
        let read = || Ok((fs::read(original)?, fs::metadata(original)?));
        let (content, like) =
            read().map_err(|error: io::Error| anyhow::anyhow!("{}: {error}", original.display()))?;
        Self::file(target, &content, &like)
    }

    /// A symbolic link to `points_to`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn symlink(target: &Path, points_to: &Path) -> Result<Self> {
        Self::create(target, |path| std::os::unix::fs::symlink(points_to, path))
    }

    /// What `make` makes under the temporary name, to become `target`.
    ///
    /// # Errors
    /// What `make` says.
    pub fn create(target: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<Self> {
        let mut name = temporary_name(target)?;
        name.push(std::process::id().to_string());
        let pending = Self { temporary: target.with_file_name(name), target: target.to_owned() };
        // What an interrupted run of the same process id left.
        let _ = fs::remove_file(&pending.temporary);
        make(&pending.temporary).with_context(|| format!("cannot write {}", target.display()))?;
        Ok(pending)
    }

    /// Where it is until then.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Gives it its name, in place of what has that name now.
    ///
    /// # Errors
    /// The rename fails; nothing has changed then.
    pub fn commit(self) -> Result<()> {
        fs::rename(&self.temporary, &self.target)
            .with_context(|| format!("cannot replace {}", self.target.display()))?;
        sync_directory(&self.target)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // After a commit there is nothing of that name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// How temporary names for `target` begin; a process id follows.
fn temporary_name(target: &Path) -> Result<OsString> {
    let mut name = OsString::from(".");
    name.push(target.file_name().with_context(|| format!("{}: not a file's name", target.display()))?);
    name.push(".morselctl-");
    Ok(name)
}

/// Removes what interrupted runs left beside `target`. Nobody else may be about to replace it.
///
/// # Errors
/// It cannot be removed.
pub fn remove_leftovers(target: &Path) -> Result<()> {
    let name = temporary_name(target)?;
    // No directory, no leftovers.
    let entries = fs::read_dir(target.parent().unwrap_or(target)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_bytes().starts_with(name.as_bytes())) {
        let path = entry.path();
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Makes sure that the directory that holds `path` is on the disk.
///
/// # Errors
/// It cannot be read.
pub fn sync_directory(path: &Path) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("cannot sync {}", dir.display()))
}
