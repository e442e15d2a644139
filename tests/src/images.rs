//! Images for the programs of cases, so that the whole suite can run with them: `DIFFTEST_IMAGES` says that it
//! shall, and `DIFFTEST_PASSES` which passes make them.
//!
//! A program that cannot have an image (it would not start, or is meant for no loader) runs without. What became of each is
//! written to `images.log` in the folder of build products.
//!
//! [`fixture`] is a program with an image for tests of images themselves.

pub mod container;
pub mod fixture;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::case::Case;
use crate::worlds::{Loaders, Version, World, morselctl};

/// The setting that makes the loader under test use an image of `dir/prog`, which is built in `scratch`; `None` if the suite
/// runs without images.
pub fn setting(
    case: &Case,
    world: World,
    loaders: &Loaders,
    dir: &Path,
    scratch: &Path,
    fill: impl Fn(&str) -> String,
) -> Result<Option<(String, String)>> {
    if std::env::var_os("DIFFTEST_IMAGES").is_none() {
        return Ok(None);
    }
    if case.without_image.is_some() {
        return Ok(Some(("LD_MORSEL_IMAGE".to_owned(), "off".to_owned())));
    }
    let images = scratch.join(".images");
    fs::create_dir(&images).with_context(|| images.display().to_string())?;
    let mut command = Command::new(morselctl()?);
    command.current_dir(dir).args(["build", "./prog", "--into"]).arg(&images);
    if let Some(passes) = std::env::var_os("DIFFTEST_PASSES") {
        command.arg("--passes").arg(passes);
    }
    for (name, value) in loaders.settings(world.version)? {
        if name == "LD_MORSEL_LIBC" {
            command.args(["--libc", &value]);
        }
    }
    for (name, value) in Case::in_world(&case.environment, world) {
        let option = match name.as_str() {
            "LD_LIBRARY_PATH" => "--library-path",
            // With the other version, the image knows nothing of what is preloaded.
            "LD_PRELOAD" if world.version == Version::V1_2_3 => "--preload",
            _ => continue,
        };
        command.arg(format!("{option}={}", fill(value)));
    }
    let output = command.output().context("cannot run morselctl")?;
    let said = if output.status.success() { &output.stdout } else { &output.stderr };
    let line = format!("{} [{world}]: {}\n", case.name, String::from_utf8_lossy(said).trim());
    let log = crate::worlds::build_root().join("images.log");
    let log =
        OpenOptions::new().create(true).append(true).open(&log).with_context(|| log.display().to_string());
    log?.write_all(line.as_bytes()).context("images.log")?;
    if output.status.success() {
        verify(&images)?;
    }
    Ok(Some(("LD_MORSEL_IMAGE".to_owned(), format!("{}/", images.display()))))
}

/// Lets the tool prove that an image, or all in a folder, may be used, and that their code does what the libraries' does.
pub fn verify(images: &Path) -> Result<()> {
    let all = if images.is_dir() {
        let entries = fs::read_dir(images).with_context(|| images.display().to_string())?;
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?
    } else {
        vec![images.to_owned()]
    };
    for image in all {
        let output = Command::new(morselctl()?).arg("verify").arg(&image).output();
        let output = output.context("cannot run morselctl")?;
        if !output.status.success() {
            bail!("morselctl verify: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}
