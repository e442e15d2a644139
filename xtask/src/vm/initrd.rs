//! The first file system of a guest: a cpio archive in memory, made of single files. Contents are given, or come from
//! files and folders of this machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Cursor};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cpio::newc::{Builder, ModeFileType};

/// An archive that is being put together.
#[derive(Default)]
pub struct Initrd {
    /// By path, so that folders come before what is in them.
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    kind: ModeFileType,
    mode: u32,
    content: Vec<u8>,
}

impl Initrd {
    /// Adds a folder, and those that it is in.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]).filter(|(at, _)| *at > 0) {
            let folder = || Entry { kind: ModeFileType::Directory, mode: 0o755, content: Vec::new() };
            self.entries.entry(path[..at].to_owned()).or_insert_with(folder);
        }
    }

    /// Adds a file with this content.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) {
        self.entry(path, Entry { kind: ModeFileType::Regular, mode, content: content.into() });
    }

    /// Adds a file or folder of this machine, with all that is in it.
    pub fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let explain = || format!("cannot read {}", from.display());
        let meta = fs::symlink_metadata(from).with_context(explain)?;
        if meta.is_dir() {
            self.folder(path);
            for entry in fs::read_dir(from).with_context(explain)? {
                let entry = entry.with_context(explain)?;
                self.copy(&format!("{path}/{}", entry.file_name().display()), &entry.path())?;
            }
        } else if meta.is_symlink() {
            let target = fs::read_link(from).with_context(explain)?.into_os_string().into_encoded_bytes();
            self.entry(path, Entry { kind: ModeFileType::Symlink, mode: 0o777, content: target });
        } else if meta.is_file() {
            self.file(path, fs::read(from).with_context(explain)?, meta.mode() & 0o7777);
        } else {
            bail!("{} is no file, folder or link", from.display());
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Writes the archive.
    pub fn write(self, to: &Path) -> Result<()> {
        let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
        let inputs = self.entries.into_iter().map(|(path, entry)| {
            let builder = Builder::new(&path).mode(entry.mode).set_mode_file_type(entry.kind);
            (builder, Cursor::new(entry.content))
        });
        let archive = cpio::write_cpio(inputs, BufWriter::new(file));
        archive
            .and_then(|writer| writer.into_inner().map_err(std::io::IntoInnerError::into_error))
            .with_context(|| format!("cannot write {}", to.display()))
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::Initrd;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut initrd = Initrd::default();
        initrd.file("/a/b/c", "text", 0o644);
        initrd.folder("a-b");
        let paths: Vec<_> = initrd.entries.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a", "a-b", "a/b", "a/b/c"]);
    }
}
