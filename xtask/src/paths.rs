//! Where things are: the repository, the cache outside it, and the loaders.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context, Result, bail};

/// Stock musl of Debian 12, the loader to compare with. Never replaced or modified.
pub const STOCK: &str = "/lib/ld-musl-x86_64.so.1";

/// The root of the repository.
pub fn repo() -> PathBuf {
    // Where cargo runs us, it says where the package is. What it said at compile time may be another clone's folder,
    // where two clones share a target folder.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The cache: `$LD_MORSEL_CACHE`, else `$XDG_CACHE_HOME/ld-morsel`, else `~/.cache/ld-morsel`.
pub fn cache() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("LD_MORSEL_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("ld-morsel")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/ld-morsel")))
        .context("neither LD_MORSEL_CACHE, XDG_CACHE_HOME nor HOME says where the cache is")?;
    if !dir.is_absolute() || dir.to_string_lossy().contains(|c: char| c.is_whitespace() || c == ':') {
        // Run paths of the corpus are made of it, and source packages' makefiles do not quote.
        bail!("the cache must be an absolute path without white space and colons, not {dir:?}");
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// musl 1.2.5's libc.so, where `setup` puts it.
pub fn musl_1_2_5() -> Result<PathBuf> {
    Ok(cache()?.join("musl-1.2.5/usr/lib/x86_64-linux-musl/libc.so"))
}

/// A loader to use instead of the one that would be built: `$LD_MORSEL`.
pub fn loader_override() -> Result<Option<PathBuf>> {
    let Some(path) = env::var_os("LD_MORSEL").filter(|path| !path.is_empty()) else { return Ok(None) };
    // Not canonicalised: musl's loader is a link to libc.so, and its name is part of what is tested.
    let path = std::path::absolute(&path)?;
    if !path.is_file() {
        bail!("LD_MORSEL names {}, which is not a file", path.display());
    }
    Ok(Some(path))
}

/// The file, or a copy of it that every user can reach: some tests give up their rights, and root's home, where cache
/// and clone may lie, is closed to others.
pub fn reachable_by_all(file: &Path) -> Result<PathBuf> {
    let open = |dir: &Path| fs::metadata(dir).is_ok_and(|meta| meta.mode() & 0o001 != 0);
    if file.ancestors().skip(1).all(open) {
        return Ok(file.to_owned());
    }
    // SAFETY: geteuid has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    let dir = env::temp_dir().join(format!("ld-morsel-{user}"));
    match fs::DirBuilder::new().mode(0o755).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {}", dir.display()));
        }
        _ => {}
    }
    // The name is easy to guess: the folder might be somebody else's, or a link.
    let meta = fs::symlink_metadata(&dir)?;
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o022 != 0 {
        bail!("{} is not a folder that only we can write to; remove it", dir.display());
    }
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let copy = dir.join(content_key(&[&file.to_string_lossy()])).join(file.file_name().unwrap_or_default());
    if fs::read(&copy).is_ok_and(|copied| copied == content) {
        return Ok(copy);
    }
    fs::create_dir_all(copy.parent().unwrap_or(&dir))?;
    // Programs may be running it: a new file takes the place of the old one.
    let new = copy.with_extension("new");
    fs::copy(file, &new)?;
    fs::rename(&new, &copy)?;
    Ok(copy)
}

/// A name that stays the same for the same content, for caches (FNV-1a).
pub fn content_key(parts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}
