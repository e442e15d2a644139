//! `morselctl fuse`: one ELF file that holds the loader and a stock `libc.so`, so that the kernel maps both when it starts
//! a program.
//!
//! libc stays at address 0 with everything that it has, so that link editors, debuggers and `ldd` see a libc; the loader
//! follows at a distance that is written into its own note. `image` makes the file, `check` says what may go into it and
//! examines what has come out.

mod check;
mod image;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::elf_file::ElfFile;
use crate::write::Pending;

pub use check::is_fused;

/// What the loader's file is called.
const LOADER: &str = "ld-morsel";

/// Options of the subcommand.
#[derive(clap::Args)]
pub struct Args {
    /// musl's libc.so, which is also its loader: /lib/ld-musl-x86_64.so.1
    libc: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "ld-musl-x86_64.so.1")]
    output: PathBuf,
    #[command(flatten)]
    loader: LoaderArgs,
}

/// Which loader.
#[derive(clap::Args)]
pub struct LoaderArgs {
    /// The loader; by default the file ld-morsel beside this program
    #[arg(long, value_name = "FILE")]
    loader: Option<PathBuf>,
}

impl LoaderArgs {
    /// The loader's file.
    ///
    /// # Errors
    /// It is not said, and there is none beside this program.
    pub fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.loader {
            return Ok(path.clone());
        }
        // Without /proc, as in many a chroot, there is still the name by which we were called.
        let called = || std::env::args_os().next().map(PathBuf::from);
        let own = std::env::current_exe().ok().or_else(called);
        let own = own.context("cannot tell where this program is: name a loader by --loader")?;
        let beside = own.with_file_name(LOADER);
        if !beside.is_file() {
            bail!("there is no {}: name a loader by --loader", beside.display());
        }
        Ok(beside)
    }
}

/// The subcommand.
pub fn run(args: &Args) -> Result<()> {
    let fused = Fused::of(&args.libc, &args.loader.path()?)?;
    let same = std::fs::metadata(&args.output)
        .is_ok_and(|old| (old.dev(), old.ino()) == (fused.like.dev(), fused.like.ino()));
    if same {
        bail!(
            "{} is the libc itself; `morselctl install` replaces it and keeps a copy",
            args.output.display()
        );
    }
    fused.pending(&args.output)?.commit()?;
    println!(
        "{}: {} KiB, the loader is at {:#x}",
        args.output.display(),
        fused.bytes.len().div_ceil(1024),
        fused.distance
    );
    Ok(())
}

/// A libc and a loader in one.
pub struct Fused {
    bytes: Vec<u8>,
    distance: u64,
    /// The libc's file, whose permissions it is to have.
    like: std::fs::Metadata,
}

impl Fused {
    /// Of the files at these paths.
    ///
    /// # Errors
    /// One of them is not what it should be.
    pub fn of(libc: &Path, loader: &Path) -> Result<Self> {
        let (libc, like) = ElfFile::read(libc)?;
        let (loader, _) = ElfFile::read(loader)?;
        check::libc(&libc)?;
        let note = check::loader(&loader)?;
        let image::Image { bytes, distance } = image::build(&libc, &loader, &note)?;
        check::result(&libc, &loader, &bytes, distance).context("the fused file is not as it should be")?;
        Ok(Self { bytes, distance, like })
    }

    /// Written beside `path`, to become that.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn pending(&self, path: &Path) -> Result<Pending> {
        Pending::file(path, &self.bytes, &self.like)
    }
}
