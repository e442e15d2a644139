//! Only known files come into an image: each library, libc, the loader and the program must be in a list of SHA-256 hashes, as
//! `sha256sum` writes it. It is the first of all passes, so that it sees files as they are, before any other changes them.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Pass;
use crate::image::library::InputFile;
use crate::image::path_of;

/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

struct Verify {
    list: PathBuf,
    /// The hashes, by path, without symbolic links where there is such a file.
    listed: HashMap<PathBuf, String>,
    verified: HashSet<PathBuf>,
}

/// Its value is the path of the list.
pub fn make(value: Option<&str>) -> Result<Box<dyn Pass>> {
    let list = value.map(Path::new).filter(|list| list.is_absolute());
    let list = list.context("the pass `verify` needs the absolute path of a list: verify=LIST")?;
    Ok(Box::new(Verify { list: list.to_owned(), listed: HashMap::new(), verified: HashSet::new() }))
}

impl Pass for Verify {
    fn begin(&mut self) -> Result<()> {
        let name = || self.list.display().to_string();
        let text = fs::read_to_string(&self.list).with_context(name)?;
        self.listed = parse(&text).with_context(name)?;
        Ok(())
    }

    fn look_at(&mut self, path: &CStr, bytes: &[u8]) -> Result<()> {
        let list = self.list.display();
        let path = settled(path_of(path));
        let listed = self.listed.get(&path).with_context(|| format!("it is not in {list}"))?;
        let found = hexadecimal(&Sha256::digest(bytes));
        if found != *listed {
            bail!("its SHA-256 is {found}, not that of {list}, {listed}");
        }
        self.verified.insert(path);
        Ok(())
    }

    fn read(&mut self, file: &mut InputFile) -> Result<()> {
        // What is taken out of another file, libc of the loader's, has been looked at with it.
        match self.verified.contains(&settled(path_of(&file.name))) {
            true => Ok(()),
            false => self.look_at(&file.name, &file.bytes),
        }
    }

    fn report(&self) -> Vec<String> {
        vec![format!("all {} files are as {} has them", self.verified.len(), self.list.display())]
    }
}

/// The path by which a file is known, whatever links lead to it.
fn settled(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lines of `HASH  PATH` or `HASH *PATH`; empty ones and comments (`#`) are allowed.
fn parse(text: &str) -> Result<HashMap<PathBuf, String>> {
    let mut listed = HashMap::new();
    let lines = (1..).zip(text.lines());
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let entry = line
            .split_once(' ')
            .filter(|(hash, _)| hash.len() == DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let path = entry.and_then(|(_, path)| path.strip_prefix(' ').or_else(|| path.strip_prefix('*')));
        let Some(((hash, _), path)) = entry.zip(path) else {
            bail!("line {number} is not a SHA-256 and a path, as `sha256sum` writes them");
        };
        if !path.starts_with('/') {
            bail!("line {number}: `{path}` is not an absolute path");
        }
        let hash = hash.to_ascii_lowercase();
        if let Some(other) = listed.insert(settled(Path::new(path)), hash.clone())
            && other != hash
        {
            bail!("line {number}: `{path}` is in the list already, with another hash");
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn lists_are_read_as_sha256sum_writes_them() {
        let upper = HASH.to_uppercase();
        let listed = parse(&format!("# known\n{HASH}  /no/a b\n\n{upper} */no/c\n")).unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!((&*listed[Path::new("/no/a b")], &*listed[Path::new("/no/c")]), (HASH, HASH));
    }

    #[test]
    fn malformed_lists_are_refused() {
        let other = HASH.replace('e', "f");
        let lines = [
            ("/no/a".to_owned(), "line 1 is not"),
            (format!("{HASH} /no/a"), "line 1 is not"),
            (format!("{}  /no/a", &HASH[1..]), "line 1 is not"),
            (format!("{}  /no/a", HASH.replace('e', "g")), "line 1 is not"),
            (format!("{HASH}  a"), "not an absolute path"),
            (format!("\\{HASH}  /no/a\\nb"), "line 1 is not"),
            (format!("{HASH}  /no/a\n{other}  /no/a"), "line 2: `/no/a` is in the list already"),
        ];
        for (text, cause) in lines {
            let error = parse(&text).expect_err(&text);
            assert!(error.to_string().contains(cause), "{error}");
        }
    }

    #[test]
    fn hashes_are_those_of_sha256sum() {
        assert_eq!(hexadecimal(&Sha256::digest(b"")), HASH);
    }
}
