//! Which definition each relocation of a program was bound to: builds the library that tells (`bindings/dump.c`), reads what
//! it wrote, and compares what it wrote under two loaders.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The variable that names the folder for dumps.
pub const FOLDER: &str = "BINDINGS";
/// What the copies of programs that name ld-morsel as their interpreter have behind their names.
const COPY_SUFFIX: &str = ".ld-morsel";
/// How many differences are told.
const MOST_TOLD: usize = 20;

/// Builds the library that is to be preloaded, in `folder`, and returns its path.
///
/// # Errors
/// The compiler's.
pub fn build_library(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let library = folder.join("libbindings.so");
    // Another run may be using the old file.
    let new = folder.join(format!("libbindings.{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bindings/dump.c");
    let output = Command::new("musl-gcc")
        .args(["-shared", "-fPIC", "-O2", "-mno-red-zone", "-Wall", "-Werror", "-o"])
        .args([&new, &source])
        .output()
        .context("cannot run musl-gcc")?;
    if !output.status.success() {
        bail!("cannot build {}:\n{}", source.display(), String::from_utf8_lossy(&output.stderr));
    }
    fs::rename(&new, &library).with_context(|| library.display().to_string())?;
    Ok(library)
}

/// What was written by some programs that ran under one loader.
#[derive(Debug, Default)]
pub struct Dumps(BTreeMap<String, String>);

impl Dumps {
    /// Reads the dumps in a folder.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut dumps = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry.with_context(|| folder.display().to_string())?.path();
            let name = path.file_name().and_then(OsStr::to_str).context("a program's name is no text")?;
            // A process that was killed leaves an unfinished file.
            if !name.starts_with('.') {
                let text = fs::read(&path).with_context(|| path.display().to_string())?;
                let name = name.strip_suffix(COPY_SUFFIX).unwrap_or(name).to_owned();
                dumps.insert(name, String::from_utf8_lossy(&text).into_owned());
            }
        }
        Ok(Self(dumps))
    }

    /// How many relocations are told of.
    pub fn count(&self) -> usize {
        self.0.values().map(|dump| dump.lines().count()).sum()
    }

    /// How these differ from what was written under stock musl; `None` if they do not.
    pub fn differences(&self, stock: &Self) -> Option<String> {
        let programs = |dumps: &Self| dumps.0.keys().cloned().collect::<Vec<_>>();
        if programs(self) != programs(stock) {
            return Some(format!(
                "bindings of {:?}, but under stock musl {:?}",
                programs(self),
                programs(stock)
            ));
        }
        let pairs = self.0.iter().zip(stock.0.values());
        let all: Vec<String> =
            pairs.flat_map(|((name, ours), stock)| lines_that_differ(name, ours, stock)).collect();
        let told = all.iter().take(MOST_TOLD).map(String::as_str).collect::<Vec<_>>().join("\n");
        (!all.is_empty()).then(|| format!("{} bindings differ:\n{told}", all.len()))
    }
}

fn lines_that_differ(program: &str, ours: &str, stock: &str) -> Vec<String> {
    let (mut ours, mut stock) = (ours.lines(), stock.lines());
    let mut differences = Vec::new();
    loop {
        match (ours.next(), stock.next()) {
            (None, None) => return differences,
            (ours, stock) if ours == stock => {}
            (ours, stock) => {
                let show = |line: Option<&str>| line.unwrap_or("nothing").to_owned();
                differences.push(format!("{program}: {}\n    stock musl: {}", show(ours), show(stock)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumps(of: &[(&str, &str)]) -> Dumps {
        Dumps(of.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect())
    }

    #[test]
    fn each_line_counts() {
        let stock = dumps(&[("a", "x\ny\n"), ("b", "z\n")]);
        assert_eq!((stock.count(), stock.differences(&stock)), (3, None));
        for other in [
            dumps(&[("a", "x\nz\n"), ("b", "z\n")]),
            dumps(&[("a", "x\n"), ("b", "z\n")]),
            dumps(&[("a", "x\ny\n"), ("b", "z\nz\n")]),
            dumps(&[("a", "x\ny\n")]),
        ] {
            assert!(other.differences(&stock).is_some(), "{other:?}");
        }
    }
}
