//! Where images are.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ld_morsel::image::{SYSTEM_PLACE, file_name, portable_name, stamp};
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

/// The files in a directory, if it is there, in order; but for hidden ones (locks, and what is being written) and further names of
/// portable images.
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
    let hidden = |path: &PathBuf| path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    paths.retain(|path| !hidden(path) && !path.is_symlink());
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

/// The name of a program's portable image in its directory.
///
/// # Errors
/// There is no such program.
pub fn portable_name_of(program: &Path) -> Result<OsString> {
    let path = program.canonicalize().with_context(|| program.display().to_string())?;
    Ok(OsString::from_vec(portable_name(path.as_os_str().as_bytes())))
}

/// The stamp of a portable image.
pub fn stamp_of(image: &Path) -> PathBuf {
    let mut path = OsString::from(image);
    path.push(stamp::SUFFIX);
    PathBuf::from(path)
}

/// Removes an image, and what there is for it alone: its stamp, and links to both.
///
/// # Errors
/// One of them cannot be removed.
pub fn remove(image: &Path) -> Result<()> {
    let mut paths = vec![image.to_owned()];
    paths.extend(Some(stamp_of(image)).filter(|path| path.exists()));
    let entries = fs::read_dir(image.parent().unwrap_or(image)).into_iter().flatten().flatten();
    let links = entries.map(|entry| entry.path()).filter(|path| {
        let target = fs::read_link(path).ok();
        target.is_some_and(|target| paths.iter().any(|path| path.file_name() == Some(target.as_os_str())))
    });
    let links: Vec<PathBuf> = links.collect();
    for path in links.iter().chain(&paths) {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
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
