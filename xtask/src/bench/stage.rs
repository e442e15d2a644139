//! Where what is measured lies and runs: a folder whose path has the same length on every machine, since loaders walk
//! over paths, and so short that the path of an interpreter in it fits into the place of musl's. A program's interpreter
//! can then be changed in place: a rewritten program (patchelf) has other segments and other costs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};

use crate::paths;

/// The folder; removed at the end, with what was put beside other people's programs.
pub struct Stage {
    dir: PathBuf,
    guests: Vec<PathBuf>,
}

impl Stage {
    /// A new one. `/tmp` rather than the user's choice: the path must be short.
    pub fn new() -> Result<Self> {
        // With the three letters of a loader's name, these are the 24 bytes of musl's `/lib/ld-musl-x86_64.so.1`.
        let name = format!("{}-{}", paths::repo().display(), std::process::id());
        let dir = PathBuf::from(format!("/tmp/ldm-{}", &paths::content_key(&[&name])[..11]));
        // Of a process that had our number and was killed.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self { dir, guests: Vec::new() })
    }

    /// Puts a loader there, under a name of three letters.
    pub fn loader(&self, name: [u8; 3], file: &Path) -> Result<PathBuf> {
        let path = self.dir.join(String::from_utf8_lossy(&name).as_ref());
        if !path.exists() {
            fs::copy(file, &path).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        Ok(path)
    }

    /// Where something else of that name would be.
    pub fn place(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Puts a folder of files there, and returns where it is.
    pub fn folder(&self, name: &str, folder: &Path) -> Result<PathBuf> {
        let staged = self.dir.join(name);
        if staged.exists() {
            return Ok(staged);
        }
        fs::create_dir_all(&staged)?;
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let file = entry?.path();
            let copy = staged.join(file.file_name().unwrap_or_default());
            // Written anew, in one piece: how many pages a fault maps depends on how the page cache came to hold the
            // file. A linker writes in many pieces, and what has been read from the disk lies there otherwise.
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            fs::write(&copy, bytes).with_context(|| format!("cannot write {}", copy.display()))?;
            fs::set_permissions(&copy, fs::metadata(&file)?.permissions())?;
        }
        Ok(staged)
    }

    /// A copy of a program beside it, where its $ORIGIN is the same, that names another interpreter.
    pub fn with_interpreter(&mut self, program: &Path, interpreter: &Path) -> Result<PathBuf> {
        let mut name = OsString::from(".");
        name.push(program.file_name().unwrap_or_default());
        // Other benchmarks may run on the same program.
        name.push(format!(".{}.", self.dir.file_name().unwrap_or_default().display()));
        name.push(interpreter.file_name().unwrap_or_default());
        let copy = program.with_file_name(name);
        if copy.exists() {
            return Ok(copy);
        }
        let mut bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        set_interpreter(&mut bytes, interpreter)
            .with_context(|| format!("cannot change the interpreter of {}", program.display()))?;
        // Only now: a copy that is there is taken for one that has the new interpreter.
        self.guests.push(copy.clone());
        fs::write(&copy, bytes).with_context(|| format!("cannot write {}", copy.display()))?;
        fs::set_permissions(&copy, fs::metadata(program)?.permissions())?;
        Ok(copy)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for guest in &self.guests {
            // Nothing better can be done about what cannot be removed.
            let _ = fs::remove_file(guest);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The path of a program's interpreter.
pub fn interpreter(program: &Path) -> Result<Option<PathBuf>> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let range = range_of_interpreter(&bytes).with_context(|| format!("in {}", program.display()))?;
    let Some(range) = range else { return Ok(None) };
    let path = bytes[range].split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(path))))
}

fn range_of_interpreter(bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, bytes)? {
        if segment.p_type(endian) == PT_INTERP {
            let (offset, size) = segment.file_range(endian);
            let range = usize::try_from(offset)?..usize::try_from(offset.saturating_add(size))?;
            if range.end > bytes.len() {
                bail!("PT_INTERP lies beyond the end of the file");
            }
            return Ok(Some(range));
        }
    }
    Ok(None)
}

/// Overwrites the path of the interpreter, which must have room for the new one.
fn set_interpreter(bytes: &mut [u8], interpreter: &Path) -> Result<()> {
    let range = range_of_interpreter(bytes)?.context("it has none")?;
    let path = interpreter.as_os_str().as_bytes();
    if path.len() >= range.len() {
        bail!("{} does not fit into the {} bytes of the old path", interpreter.display(), range.len());
    }
    let place = &mut bytes[range];
    place.fill(0);
    place[..path.len()].copy_from_slice(path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, one program header, and the path of the interpreter.
    fn program(path: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        let mut field = |at: usize, value: u16| bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        // e_phoff, e_phentsize, e_phnum; p_type, p_offset, p_filesz.
        for (at, value) in [(32, 64), (54, 56), (56, 1), (64, 3), (72, 120), (96, path.len() as u16)] {
            field(at, value);
        }
        bytes.extend(path);
        bytes
    }

    #[test]
    fn an_interpreter_is_replaced_in_its_place() {
        let mut bytes = program(b"/lib/ld-musl-x86_64.so.1\0");
        set_interpreter(&mut bytes, Path::new("/tmp/ldm-0123456789a/our")).unwrap();
        assert!(bytes.ends_with(b"/tmp/ldm-0123456789a/our\0"));
        set_interpreter(&mut bytes, Path::new("/x")).unwrap();
        assert!(bytes[120..].starts_with(b"/x\0") && bytes[123..].iter().all(|&byte| byte == 0));
        let error = set_interpreter(&mut bytes, Path::new("/tmp/ldm-0123456789ab/our")).unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
        assert!(set_interpreter(&mut bytes[..130], Path::new("/x")).is_err());
    }
}
