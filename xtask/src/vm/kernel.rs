//! The kernels that can be booted: Debian's own for cloud machines, of two releases, and one that is built here with
//! every check switched on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::buildroot::BuildRoot;
use super::{cache, debug, lock};
use crate::proc;

/// Which kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flavour {
    /// Debian 12's cloud kernel.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's cloud kernel.
    #[value(name = "6.12")]
    V6_12,
    /// Linux 6.1 with KASAN, lockdep and other checks, and the module built in.
    #[value(name = "debug")]
    Debug,
}

impl Flavour {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Debug => "debug",
        }
    }
}

/// A kernel that is there.
pub struct Kernel {
    /// Which one.
    pub flavour: Flavour,
    /// What to boot.
    pub image: PathBuf,
    /// Its release, as uname has it; empty where nothing is loaded into it.
    pub release: String,
    root: BuildRoot,
}

impl Kernel {
    /// Fetches it, or builds it, unless it is in the cache; and installs what it takes to boot it.
    pub fn provide(flavour: Flavour) -> Result<Self> {
        super::setup()?;
        let suite = match flavour {
            Flavour::V6_1 => "bookworm",
            Flavour::V6_12 => "trixie",
            Flavour::Debug => {
                let (root, image) = debug::provide()?;
                return Ok(Self { flavour, image, release: String::new(), root });
            }
        };
        let packages = ["linux-image-cloud-amd64", "linux-headers-cloud-amd64"];
        let root = BuildRoot::provide(flavour.name(), suite, &packages)?;
        let modules = root.path("/lib/modules");
        let mut releases = fs::read_dir(&modules)
            .with_context(|| format!("cannot read {}", modules.display()))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let release = releases.next().with_context(|| format!("no kernel in {}", modules.display()))?;
        Ok(Self { flavour, image: root.path(format!("/boot/vmlinuz-{release}")), release, root })
    }

    /// Whether modules can be loaded into it; otherwise what it needs is built in.
    pub fn has_modules(&self) -> bool {
        !self.release.is_empty()
    }

    /// The system with its compiler and headers.
    pub fn root(&self) -> &BuildRoot {
        &self.root
    }

    /// Where its headers are, inside its build root.
    pub fn headers(&self) -> String {
        format!("/usr/src/linux-headers-{}", self.release)
    }

    /// Files of modules in the order in which to load them, so that all of `names` are there. None of what is built
    /// in.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        if !self.has_modules() {
            return Ok(Vec::new());
        }
        let _lock = lock()?;
        let work = cache()?;
        if !self.root.path(format!("/lib/modules/{}/modules.dep", self.release)).exists() {
            proc::output(self.root.command(&work, "depmod").arg(&self.release))?;
        }
        let mut files = Vec::new();
        for name in names {
            let mut modprobe = self.root.command(&work, "modprobe");
            modprobe.args(["--set-version", &self.release, "--show-depends", name]);
            for line in proc::output(&mut modprobe)?.lines() {
                match line.split_whitespace().collect::<Vec<_>>()[..] {
                    ["builtin", _] => {}
                    ["insmod", path, ..] => files.push(self.uncompressed(Path::new(path))?),
                    _ => bail!("modprobe says `{line}` of {name}, which was not expected"),
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        files.retain(|file| seen.insert(file.clone()));
        Ok(files)
    }

    /// Debian 13 compresses modules, which busybox's insmod need not understand.
    fn uncompressed(&self, inside: &Path) -> Result<PathBuf> {
        let path = self.root.path(inside);
        if path.extension().is_none_or(|extension| extension != "xz") {
            return Ok(path);
        }
        let plain = path.with_extension("");
        if !plain.exists() {
            proc::output(proc::command("xz").args(["--decompress", "--keep"]).arg(&path))?;
        }
        Ok(plain)
    }
}
