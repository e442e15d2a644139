//! A guest's disk: an ext4 image, empty or with a copy of a folder. And folders that look like this machine's root, to
//! be such a copy: files stand at the same paths as here, so that run paths and interpreters hold in a guest too.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::proc;

/// Makes an ext4 image with what is in `content`, and about `spare` MiB besides.
pub fn image(path: &Path, content: Option<&Path>, spare: u64) -> Result<()> {
    let used = match content {
        Some(dir) => {
            let size = proc::output(proc::command("du").args(["-sm", "--apparent-size"]).arg(dir))?;
            let size = size.split_whitespace().next().and_then(|size| size.parse::<u64>().ok());
            size.with_context(|| format!("du does not say how large {} is", dir.display()))?
        }
        None => 0,
    };
    let _ = fs::remove_file(path);
    let mut mke2fs = proc::command("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-b", "4096", "-m", "0", "-E", "root_owner=0:0"]);
    if let Some(dir) = content {
        mke2fs.arg("-d").arg(dir);
    }
    // A fifth more, for what files need beyond their content.
    proc::output(mke2fs.arg(path).arg(format!("{}M", used + used / 5 + spare)))?;
    Ok(())
}

/// A folder that becomes the root of programs in a guest.
pub struct Root {
    dir: PathBuf,
    copied: HashSet<PathBuf>,
}

impl Root {
    /// One with nothing but the folders that every system has; what was there is removed.
    pub fn create(dir: &Path) -> Result<Self> {
        let _ = fs::remove_dir_all(dir);
        for folder in ["dev", "etc", "proc", "sys", "tmp", "usr/local/lib"] {
            fs::create_dir_all(dir.join(folder))
                .with_context(|| format!("cannot create {}", dir.display()))?;
        }
        // As on a machine whose /bin and /lib have been merged into /usr.
        for folder in ["bin", "sbin", "lib", "lib64"] {
            fs::create_dir_all(dir.join("usr").join(folder))?;
            symlink(Path::new("usr").join(folder), dir.join(folder))?;
        }
        Ok(Self { dir: dir.to_owned(), copied: HashSet::new() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a file of the root lies on this machine.
    pub fn place(&self, path: &Path) -> PathBuf {
        self.dir.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Copies a file or a folder, with the targets of links.
    pub fn copy(&mut self, path: &Path) -> Result<()> {
        if !self.copied.insert(path.to_owned()) {
            return Ok(());
        }
        let to = self.place(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let mut cp = proc::command("cp");
        cp.args(["-a", "--reflink=auto", "--no-target-directory"]).arg(path).arg(to);
        proc::output(&mut cp)?;
        if let Ok(target) = fs::read_link(path) {
            let target = path.parent().unwrap_or(Path::new("/")).join(target);
            self.copy(&target)?;
        }
        Ok(())
    }

    /// Copies a program of this machine with all libraries that its loader finds.
    pub fn program(&mut self, path: &Path) -> Result<()> {
        self.copy(path)?;
        for library in libraries(proc::command("ldd").arg(path))? {
            self.copy(&library)?;
        }
        Ok(())
    }

    /// Copies a program that is linked against musl, with its libraries as `loader` finds them, and the loader.
    pub fn musl_program(&mut self, path: &Path, loader: &Path) -> Result<()> {
        self.copy(path)?;
        self.copy(loader)?;
        for library in libraries(proc::command(loader).arg("--list").arg(path))? {
            self.copy(&library)?;
        }
        Ok(())
    }
}

/// The paths in the output of `ldd` or `ld-musl --list`. A static program has none.
fn libraries(list: &mut std::process::Command) -> Result<Vec<PathBuf>> {
    let text = match proc::output(list) {
        Ok(text) => text,
        Err(error) if format!("{error}").contains("not a dynamic executable") => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(paths(&text))
}

fn paths(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let line = line.trim().rsplit("=> ").next()?;
        let path = line.split(" (").next().filter(|path| path.starts_with('/'))?;
        Some(PathBuf::from(path))
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::paths;

    #[test]
    fn paths_are_read_from_lists_of_libraries() {
        let glibc = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld.so (0x7f)\n";
        assert_eq!(paths(glibc), ["/lib/libc.so.6", "/lib64/ld.so"].map(PathBuf::from));
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibx.so => /d/libx.so (0x7f)\n";
        assert_eq!(paths(musl), ["/lib/ld-musl-x86_64.so.1", "/d/libx.so"].map(PathBuf::from));
    }
}
