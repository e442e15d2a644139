//! The ways of letting processes share what relocation changes (`docs/seven-ways.md`), measured beside each other: starts and
//! memory of running programs with those that the loader has (`running`), and an experiment with the one that it has not,
//! relocation at page-in (`page_in`, with the pages of a real image from `relocated`).

pub mod page_in;
pub mod relocated;
pub mod running;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bench::peers::{Lab, Peer};
use crate::bench::workload::{Start, Workload};

/// A way to start a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Stock musl: every process relocates its own tables.
    Stock,
    /// The loader without an image: the same, faster.
    Ours,
    /// An image at its own base.
    Image,
    /// An image that is moved in each process.
    Moved,
    /// One static program at a fixed address.
    Static,
}

impl Way {
    /// All of them, the first being what the others are compared to.
    pub const ALL: [Self; 5] = [Self::Stock, Self::Ours, Self::Image, Self::Moved, Self::Static];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock musl",
            Self::Ours => "ours",
            Self::Image => "image",
            Self::Moved => "image, LD_MORSEL_ASLR=process",
            Self::Static => "static",
        }
    }

    /// How it starts a workload.
    ///
    /// # Errors
    /// The program or its image cannot be made.
    pub fn start(self, lab: &mut Lab, workload: &Workload) -> Result<Start> {
        match self {
            Self::Stock => Peer::Stock.start(lab, workload),
            Self::Ours => Ok(Peer::Ours.start(lab, workload)?.with("LD_MORSEL_IMAGE", "off")),
            Self::Image => Peer::Image.start(lab, workload),
            Self::Moved => Ok(Peer::Image.start(lab, workload)?.with("LD_MORSEL_ASLR", "process")),
            Self::Static => Peer::Static.start(lab, workload),
        }
    }
}

/// The image that a start requires.
///
/// # Errors
/// It requires none, or there is none.
pub fn image_of(start: &Start) -> Result<PathBuf> {
    let value = start.env.iter().find(|(name, _)| name == "LD_MORSEL_IMAGE").map(|(_, value)| value);
    let place = value.and_then(|value| value.to_str()?.strip_prefix("require:"));
    let place = place.context("it has no image")?;
    let program = fs::metadata(&start.program)?;
    // As the loader finds it (docs/images.md).
    Ok(Path::new(place).join(format!("{:x}-{:x}", program.dev(), program.ino())))
}
