//! Names the loaders that a case can run under, and finds them on this machine.
//!
//! Stock musl is loader and libc in one file. The loader under test brings no libc: it is told which one
//! to boot by `LD_MORSEL_LIBC`, and takes the system's (1.2.3) when it is told nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A version of musl that the suite compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// The stock loader of the system, `/lib/ld-musl-x86_64.so.1`.
    V1_2_3,
    /// The first release with `DT_RELR`, found by `DIFFTEST_MUSL125`.
    V1_2_5,
}

impl Version {
    /// Both versions, in the order in which they are tested.
    pub const ALL: [Version; 2] = [Version::V1_2_3, Version::V1_2_5];

    /// The text used in directives and in the names of tests.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_2_3 => "1.2.3",
            Version::V1_2_5 => "1.2.5",
        }
    }
}

/// How the loader gets hold of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// The kernel starts it as the program's `PT_INTERP`.
    Interp,
    /// It is run as a command: `loader [options] program args`.
    Direct,
}

impl Mode {
    /// Both ways of invocation.
    pub const ALL: [Mode; 2] = [Mode::Interp, Mode::Direct];

    /// The text used in directives and in the names of tests.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Interp => "interp",
            Mode::Direct => "direct",
        }
    }
}

/// Who loads the program: the oracle or the loader under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Stock musl.
    Musl,
    /// The loader under test.
    Morsel,
}

impl Side {
    /// The text used in directives.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Musl => "musl",
            Side::Morsel => "morsel",
        }
    }
}

/// One way of running a case: by whom, with which libc, and how invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Oracle or loader under test.
    pub side: Side,
    /// The libc that the program runs with.
    pub version: Version,
    /// The way of invocation.
    pub mode: Mode,
}

impl World {
    /// The copy of the build products that this world runs: the three differ only in `PT_INTERP`.
    pub fn copy(self) -> BuildCopy {
        match (self.side, self.version) {
            (Side::Morsel, _) => BuildCopy::Morsel,
            (Side::Musl, Version::V1_2_3) => BuildCopy::Musl123,
            (Side::Musl, Version::V1_2_5) => BuildCopy::Musl125,
        }
    }

    /// Whether a qualifier of a directive (`interp`, `musl`, `1.2.5`, ...) holds here.
    pub fn matches(self, qualifier: &str) -> bool {
        [self.side.as_str(), self.version.as_str(), self.mode.as_str()].contains(&qualifier)
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.side.as_str(), self.mode.as_str(), self.version.as_str())
    }
}

/// A copy of a case's build products, linked for one loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BuildCopy {
    /// Linked for the system's musl.
    Musl123,
    /// Linked for musl 1.2.5.
    Musl125,
    /// Linked for the loader under test.
    Morsel,
}

impl BuildCopy {
    /// The name of the folder below the case's build folder.
    pub fn as_str(self) -> &'static str {
        match self {
            BuildCopy::Musl123 => "musl-1.2.3",
            BuildCopy::Musl125 => "musl-1.2.5",
            BuildCopy::Morsel => "morsel",
        }
    }
}

/// The loaders on this machine.
#[derive(Clone, Debug)]
pub struct Loaders {
    stock: PathBuf,
    morsel: PathBuf,
    musl125: Option<PathBuf>,
}

const STOCK: &str = "/lib/ld-musl-x86_64.so.1";

impl Loaders {
    /// Looks for the stock loader (or `DIFFTEST_STOCK`), `LD_MORSEL` and `DIFFTEST_MUSL125`.
    ///
    /// A missing 1.2.5 is not an error here: it fails the tests that need it, and only those.
    pub fn find() -> Result<Loaders> {
        let stock = std::env::var_os("DIFFTEST_STOCK").map_or_else(|| PathBuf::from(STOCK), PathBuf::from);
        if !stock.exists() {
            bail!("the oracle {} is missing: install musl and musl-tools", stock.display());
        }
        let morsel = match std::env::var_os("LD_MORSEL") {
            Some(path) => PathBuf::from(path),
            None => workspace_root().join("target/release/ld-morsel"),
        };
        if !morsel.is_absolute() {
            bail!("LD_MORSEL must be an absolute path, got {}", morsel.display());
        }
        if !morsel.exists() {
            bail!(
                "the loader under test, {}, is missing: run `cargo build --release`, or `cargo xtask test`",
                morsel.display()
            );
        }
        let musl125 = std::env::var_os("DIFFTEST_MUSL125").map(PathBuf::from);
        Ok(Loaders { stock, morsel, musl125 })
    }

    /// The loader that copy's programs name as their interpreter.
    pub fn for_copy(&self, copy: BuildCopy) -> Result<&Path> {
        match copy {
            BuildCopy::Musl123 => Ok(&self.stock),
            BuildCopy::Musl125 => self.libc(Version::V1_2_5),
            BuildCopy::Morsel => Ok(&self.morsel),
        }
    }

    /// The libc.so of a version.
    pub fn libc(&self, version: Version) -> Result<&Path> {
        match version {
            Version::V1_2_3 => Ok(&self.stock),
            Version::V1_2_5 => {
                let path = self.musl125.as_deref().context(
                    "DIFFTEST_MUSL125 is not set: it must hold the path of musl 1.2.5's libc.so; \
                     `cargo xtask test` builds it and sets the variable",
                )?;
                if !path.is_absolute() || !path.exists() {
                    bail!("DIFFTEST_MUSL125={} is not an absolute path of a file", path.display());
                }
                Ok(path)
            }
        }
    }

    /// The variables that the loader under test needs for a version of libc, and those it is to be tested with.
    pub fn settings(&self, version: Version) -> Result<Vec<(String, String)>> {
        let mut settings = Vec::new();
        if version == Version::V1_2_5 {
            settings.push(("LD_MORSEL_LIBC".to_owned(), self.libc(version)?.display().to_string()));
        }
        for name in ["LD_MORSEL_MAP", "LD_MORSEL_ASLR"] {
            if let Ok(value) = std::env::var(name) {
                settings.push((name.to_owned(), value));
            }
        }
        Ok(settings)
    }

    /// Whether the loader under test is the oracle itself, which is how the suite checks itself.
    pub fn is_self_check(&self) -> bool {
        self.morsel == self.stock
    }
}

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The tool that builds images: `MORSELCTL`, or the release build.
pub fn morselctl() -> Result<PathBuf> {
    let built = || workspace_root().join("target/release/morselctl");
    let path = std::env::var_os("MORSELCTL").map_or_else(built, PathBuf::from);
    if !path.is_absolute() || !path.exists() {
        bail!(
            "{} is not there: run `cargo build --release -p morselctl`, or `cargo xtask test`",
            path.display()
        );
    }
    Ok(path)
}

/// Where build products go: `target/difftest`, or `DIFFTEST_DIR`.
pub fn build_root() -> PathBuf {
    std::env::var_os("DIFFTEST_DIR").map_or_else(|| workspace_root().join("target/difftest"), PathBuf::from)
}
