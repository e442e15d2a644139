//! `morselctl install` and `uninstall`: ld-morsel as the loader of a root directory.
//!
//! `/lib/ld-musl-x86_64.so.1` becomes a fused file. The libc that was there is kept as `/usr/lib/ld-morsel/libc.so`; where
//! the loader's name was a symbolic link, the link is kept beside it. Both are there before anything is replaced, and the
//! loader's name is given to another file by one rename, so that an interruption leaves one loader or the other.

mod root;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::elf_file::ElfFile;
use crate::fuse::{Fused, LoaderArgs, is_fused};
use crate::write::{Pending, remove_leftovers, sync_directory};

use root::Root;

/// The name by which musl programs ask for their loader.
const LOADER: &str = "/lib/ld-musl-x86_64.so.1";
/// Where ld-morsel keeps what it has replaced.
const KEPT: &str = "/usr/lib/ld-morsel";
/// There: the stock libc.
const KEPT_LIBC: &str = "libc.so";
/// There: the link that the loader's name was, if it was one.
const KEPT_LINK: &str = "former-loader";

/// Options of `install`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    loader: LoaderArgs,
}

/// Options of both.
#[derive(clap::Args)]
pub struct RootArgs {
    /// The root directory; "/" for this system itself
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
}

/// The subcommand `install`.
pub fn run(args: &Args) -> Result<()> {
    let place = Place::in_root(&args.root.root)?;
    place.install(&args.loader.path()?)?;
    println!("{} is ld-morsel; stock libc: {}", place.loader.display(), place.kept_libc().display());
    Ok(())
}

/// The subcommand `uninstall`.
pub fn run_uninstall(args: &RootArgs) -> Result<()> {
    let place = Place::in_root(&args.root)?;
    match place.uninstall()? {
        true => println!("{} is the former loader again", place.loader.display()),
        false => println!("{} is not ld-morsel: nothing to do", place.loader.display()),
    }
    Ok(())
}

/// The files of an installation.
struct Place {
    root: Root,
    /// The loader's name; its directory is real.
    loader: PathBuf,
    /// The directory of what is kept.
    kept: PathBuf,
    /// Held while it lives: one at a time.
    _lock: File,
}

impl Place {
    fn in_root(dir: &Path) -> Result<Self> {
        let root = Root::open(dir)?;
        let loader = root.entry(LOADER)?;
        let kept = root.entry(KEPT)?;
        if fs::symlink_metadata(&loader).is_err() {
            bail!("{}: there is no musl to take the place of", loader.display());
        }
        let place = Self { _lock: root.lock()?, root, loader, kept };
        for file in [&place.loader, &place.kept_libc(), &place.kept_link()] {
            remove_leftovers(file)?;
        }
        Ok(place)
    }

    fn kept_libc(&self) -> PathBuf {
        self.kept.join(KEPT_LIBC)
    }

    fn kept_link(&self) -> PathBuf {
        self.kept.join(KEPT_LINK)
    }

    /// Whether the loader is a fused file. A name that leads nowhere, or to no ELF file, is an error.
    fn is_installed(&self) -> Result<bool> {
        Ok(is_fused(&ElfFile::read(&self.root.follow(&self.loader)?)?.0))
    }

    fn install(&self, loader: &Path) -> Result<()> {
        let fused = if self.is_installed()? {
            // Again, with another loader perhaps: from the libc that was kept.
            Fused::of(&self.kept_libc(), loader)
                .context("installed already, but the kept libc cannot be used")?
        } else {
            let libc = self.root.follow(&self.loader)?;
            let fused = Fused::of(&libc, loader)?;
            self.keep(&libc)?;
            fused
        };
        let pending = fused.pending(&self.loader)?;
        starts(pending.path())?;
        pending.commit()
    }

    /// Keeps the libc, and the link that leads to it.
    fn keep(&self, libc: &Path) -> Result<()> {
        let create = || format!("cannot create {}", self.kept.display());
        fs::create_dir_all(&self.kept).with_context(create)?;
        Pending::link_or_copy(&self.kept_libc(), libc)?.commit()?;
        match fs::read_link(&self.loader) {
            Ok(points_to) => Pending::symlink(&self.kept_link(), &points_to)?.commit()?,
            Err(_) => remove(&self.kept_link())?,
        }
        sync_directory(&self.kept)
    }

    /// Returns whether anything was installed. Where a package manager has put a stock loader back, only what was kept
    /// goes: it is older.
    fn uninstall(&self) -> Result<bool> {
        let installed = self.is_installed()?;
        if installed {
            let (stock, _) = ElfFile::read(&self.kept_libc()).context("the former loader is not there")?;
            if stock.morsel_note().is_some() {
                bail!("{} is not the stock libc", stock.path.display());
            }
            let former = match fs::read_link(self.kept_link()) {
                Ok(points_to) => Pending::symlink(&self.loader, &points_to)?,
                Err(_) => Pending::link_or_copy(&self.loader, &self.kept_libc())?,
            };
            // A link may lead to something else by now.
            let target = self.root.follow(former.path())?;
            if !ElfFile::read(&target).is_ok_and(|(file, _)| file.morsel_note().is_none()) {
                bail!("the former loader, {}, is no stock libc any more", target.display());
            }
            former.commit()?;
        }
        remove(&self.kept_libc())?;
        remove(&self.kept_link())?;
        // Others may keep files there.
        let _ = fs::remove_dir(&self.kept);
        Ok(installed)
    }
}

/// Whether the new loader works on this machine: asked for nothing, it prints musl's usage text.
fn starts(loader: &Path) -> Result<()> {
    let mut command = Command::new(loader);
    // An empty pipe, as a bare root has no /dev/null.
    let output = command.env_clear().stdin(Stdio::piped()).output();
    let output = output.with_context(|| format!("cannot run {}", loader.display()))?;
    if !output.stderr.starts_with(b"musl libc") {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("the fused loader does not work here ({}): {}", output.status, said.trim());
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
