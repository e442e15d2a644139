//! A copy of an image that tells what is touched. Its pages are not in the page cache, and the loader lets the kernel read only
//! what is touched into it, by the program or by the kernel for it: what is there afterwards has been touched.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ld_morsel::elf::PAGE_SIZE;
use ld_morsel::image::format::Watch;
use memmap2::Mmap;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::image::ImageFile;

/// Pages that are still being read stay in the page cache until they are there: how long to wait, and how often.
const PATIENCE: Duration = Duration::from_millis(5);
const ATTEMPTS: u32 = 100;

/// Pages that a process has private copies of, by what `/proc/PID/pagemap` says of each.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;

/// A directory of our own, which goes away with us.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it in another directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("morselctl-record-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(fs::canonicalize(&path)?))
    }

    /// Where a file of this name would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// See the module.
pub struct Watched {
    /// Where it is.
    pub path: PathBuf,
    file: File,
    map: Mmap,
}

impl Watched {
    /// Writes the copy.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(image: &ImageFile, path: PathBuf, watch: Watch) -> Result<Self> {
        let make = || -> io::Result<(File, Mmap)> {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all_at(&image.watched_by(watch), 0)?;
            file.set_permissions(Permissions::from_mode(0o400))?;
            file.sync_all()?;
            // SAFETY: nobody changes the file any more.
            let map = unsafe { Mmap::map(&file)? };
            Ok((file, map))
        };
        let (file, map) = make().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file, map })
    }

    /// Takes its pages out of the page cache, all but the first: the loader reads that before it knows of us, and the kernel
    /// would read others with it.
    ///
    /// # Errors
    /// They stay.
    pub fn forget(&self) -> Result<()> {
        let forgotten = || -> io::Result<bool> {
            posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM)?;
            for _ in 0..ATTEMPTS {
                posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
                self.file.read_exact_at(&mut [0; PAGE_SIZE as usize], 0)?;
                if self.touched()?.iter().skip(1).all(|touched| !touched) {
                    return Ok(true);
                }
                sleep(PATIENCE);
            }
            Ok(false)
        };
        match forgotten().with_context(|| self.path.display().to_string())? {
            true => Ok(()),
            false => bail!(
                "{}: the file system keeps it in memory; --scratch names a directory on a disk",
                self.path.display()
            ),
        }
    }

    /// For each of its pages, whether it is in the page cache.
    ///
    /// # Errors
    /// What `mincore` says.
    pub fn touched(&self) -> io::Result<Vec<bool>> {
        let mut present = vec![0_u8; self.map.len().div_ceil(PAGE_SIZE as usize)];
        let start = self.map.as_ptr().cast_mut().cast();
        // SAFETY: the range is mapped, and there is a byte for each of its pages.
        let done = unsafe { libc::mincore(start, self.map.len(), present.as_mut_ptr()) };
        match done {
            0 => Ok(present.iter().map(|byte| byte & 1 != 0).collect()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Which of these pages, in bytes from the image's start, a process that is stopped has written to.
    ///
    /// # Errors
    /// The process is gone, or does not have the image.
    pub fn written(&self, process: i32, pages: impl Iterator<Item = u64>) -> Result<Vec<u64>> {
        let start = self.start_in(process)?;
        let path = format!("/proc/{process}/pagemap");
        let map = File::open(&path).with_context(|| path.clone())?;
        let mut written = Vec::new();
        for page in pages {
            let mut entry = [0; 8];
            let at = (start + page) / PAGE_SIZE * entry.len() as u64;
            map.read_exact_at(&mut entry, at).with_context(|| path.clone())?;
            let entry = u64::from_le_bytes(entry);
            if entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0 {
                written.push(page);
            }
        }
        Ok(written)
    }

    /// Where a process has the image: the address at which its first page is mapped.
    fn start_in(&self, process: i32) -> Result<u64> {
        let path = format!("/proc/{process}/maps");
        let maps = fs::read_to_string(&path).with_context(|| path.clone())?;
        let name = self.path.to_string_lossy();
        let first = maps.lines().find(|line| {
            line.ends_with(&*name) && line.split_whitespace().nth(2).is_some_and(|at| at == "00000000")
        });
        let start = first.and_then(|line| line.split('-').next());
        let start = start.and_then(|start| u64::from_str_radix(start, 16).ok());
        start.with_context(|| format!("{path}: {name} is not mapped"))
    }
}
