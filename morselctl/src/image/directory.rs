//! Where images are.

use std::ffi::{CStr, CString, OsStr};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ld_morsel::image::{SYSTEM_PLACE, file_name};
use ld_morsel::sys::FileIdentity;

/// The directory of the images that serve everybody.
pub fn system_place() -> PathBuf {
    PathBuf::from(OsStr::from_bytes(SYSTEM_PLACE.to_bytes()))
}

/// Where images are: for everybody if root makes them, else for the user alone.
///
/// # Errors
/// The environment does not tell where the user's are.
pub fn usual_place() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(system_place());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("ld-morsel"))
}

/// Makes a directory for images if it is not there.
///
/// # Errors
/// It cannot be made.
pub fn make_directory(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.with_context(|| format!("cannot make {}", directory.display()))
}

/// The files in a directory, if it is there, in order; but for hidden ones: locks, and what is being written.
///
/// # Errors
/// It cannot be read.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| directory.display().to_string())?,
    };
    let mut paths = entries
        .map(|entry| Ok(entry.with_context(|| directory.display().to_string())?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| !name.as_bytes().starts_with(b".")));
    paths.sort();
    Ok(paths)
}

/// The name of a program's image in its directory.
///
/// # Errors
/// There is no such program.
pub fn name_of(program: &Path) -> Result<String> {
    let metadata = std::fs::metadata(program).with_context(|| program.display().to_string())?;
    Ok(file_name(FileIdentity { device: metadata.dev(), inode: metadata.ino() }))
}

/// A path as the loader has it.
///
/// # Errors
/// It contains a NUL character.
pub fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).with_context(|| path.display().to_string())
}

/// A path of the loader's.
pub fn path_of(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}
