//! Real musl programs: what there is (`manifest`), getting it (`packages`), and running it under several loaders
//! (`cases`).

pub mod cases;
pub mod manifest;
pub mod packages;

use std::path::PathBuf;

use anyhow::Result;

/// The folder in the cache that holds all programs.
pub fn dir() -> Result<PathBuf> {
    let dir = crate::paths::cache()?.join("corpus");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
