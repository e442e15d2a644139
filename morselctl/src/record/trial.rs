//! Whether a recording makes starts faster: two images that differ in nothing else, started by turns up to `main`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use ld_morsel::image::format::Watch;

use super::recording::{Mode, Times, Trial, to_lines};
use super::trace::Start;
use super::watched::{Scratch, Watched};
use crate::image::{Choice, Circumstances, ImageFile, build_into, c_path};
use crate::progress::Progress;

/// Starts before it counts.
const WARM_UP: u32 = 3;

/// Measures a mode of which everything else is known.
///
/// # Errors
/// The images cannot be built, or the program does not start with them.
pub fn measure(
    mode: &Mode,
    arguments: &[OsString],
    circumstances: &Circumstances,
    rounds: u32,
    scratch: &Scratch,
) -> Result<Trial> {
    let recording = scratch.path("recording");
    fs::write(&recording, to_lines(&[Mode { trial: None, ..mode.clone() }])?)
        .with_context(|| format!("cannot write {}", recording.display()))?;
    let value = c_path(&recording)?.into_string().context("the scratch directory's path is not UTF-8")?;
    let image = |name: &str, passes: Choice| -> Result<Watched> {
        let circumstances = Circumstances { passes, portable: false, ..circumstances.clone() };
        let built = scratch.path(&format!("{name}.built"));
        build_into(std::slice::from_ref(&mode.program), &circumstances, |_| Ok(PathBuf::from(&built)))?;
        let file = ImageFile::read(&built)?.context("no image")?;
        Watched::new(&file, scratch.path(name), Watch::MAIN)
    };
    let without = image("without", circumstances.passes.without("prefetch"))?;
    let with = image("with", circumstances.passes.with("prefetch", value))?;
    let start = Start { program: &mode.program, arguments, circumstances };
    let pair = Pair { start, without, with };
    let progress = Progress::new(2 * rounds as usize);
    progress.begin(&mode.program);
    let trial =
        Trial { warm: pair.times(rounds, false, &progress)?, cold: pair.times(rounds, true, &progress)? };
    progress.end();
    Ok(trial)
}

/// Two images of a program.
struct Pair<'a> {
    start: Start<'a>,
    without: Watched,
    with: Watched,
}

impl Pair<'_> {
    fn times(&self, rounds: u32, cold: bool, progress: &Progress) -> Result<Times> {
        let start = |image: &Watched| -> Result<f64> {
            if cold {
                image.forget()?;
            }
            Ok(self.start.to_main(&image.path, true)?.time.as_secs_f64() * 1e6)
        };
        let mut pairs = Vec::new();
        for round in 0..WARM_UP + rounds {
            // Whoever comes second may find more in the processor's caches.
            let pair = if round % 2 == 0 {
                let without = start(&self.without)?;
                (without, start(&self.with)?)
            } else {
                let with = start(&self.with)?;
                (start(&self.without)?, with)
            };
            if round >= WARM_UP {
                pairs.push(pair);
                progress.step();
            }
        }
        let better = pairs.iter().filter(|(without, with)| with < without).count() as u32;
        let (without, with) = pairs.into_iter().unzip();
        Ok(Times { rounds, better, without: median(without), with: median(with) })
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
