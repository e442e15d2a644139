//! What `morselctl record` writes and the pass `prefetch` reads: JSON lines, each of which is a [`Mode`]. Recordings of several
//! modes of a program, or of several programs, become one by writing one behind the other. Pages are those of libraries, not of
//! an image: a recording stays good for other images as long as the libraries are the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::image::{name_of, usual_place};

/// The version of the format.
pub const VERSION: u32 = 2;

/// Some runs of a program with the same arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// [`VERSION`]
    pub version: u32,
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments, for people.
    pub arguments: Vec<String>,
    /// How often it was run.
    pub runs: u32,
    /// What was touched of its libraries.
    pub libraries: Vec<Touched>,
    /// Whether to use it pays; absent if that was not measured.
    pub trial: Option<Trial>,
}

/// The pages of a library that were touched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touched {
    /// The path by which the search found it.
    pub path: PathBuf,
    /// Which build of it: hexadecimal digits of the checksum of its program headers and notes.
    pub fingerprint: String,
    /// What was touched when main began.
    pub main: Vec<Run>,
    /// What of that was written to.
    pub written: Vec<Run>,
    /// What was touched when the program ended.
    pub exit: Vec<Run>,
}

/// The [number](crate::image::Numbers) of the first page, how many follow each other, in how many runs they were touched.
pub type Run = (i64, u64, u32);

/// Starts with and without the pass, by turns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// With the image in the page cache.
    pub warm: Times,
    /// With the image on the disk only.
    pub cold: Times,
}

/// Times from exec to main.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// How many pairs of starts.
    pub rounds: u32,
    /// In how many of them the start with the pass was the faster one.
    pub better: u32,
    /// Median without the pass, in microseconds.
    pub without: f64,
    /// Median with it, in microseconds.
    pub with: f64,
}

impl Times {
    /// Whether that many of the rounds cannot well be by chance: two standard deviations above half of them.
    fn is_certain(&self, count: u32) -> bool {
        f64::from(count) > f64::from(self.rounds) / 2.0 + f64::from(self.rounds).sqrt()
    }

    fn wins(&self) -> bool {
        self.is_certain(self.better) && self.with < self.without
    }

    fn loses(&self) -> bool {
        self.is_certain(self.rounds.saturating_sub(self.better))
    }
}

impl Trial {
    /// Starts are faster with a warm page cache or with a cold one, and slower with neither.
    pub fn wins(&self) -> bool {
        let all = [self.warm, self.cold];
        all.iter().any(Times::wins) && !all.iter().any(Times::loses)
    }
}

impl Mode {
    /// Whether the pages shall be mapped at once: it pays, or nobody has measured.
    pub fn is_wanted(&self) -> bool {
        self.trial.is_none_or(|trial| trial.wins())
    }

    /// The pages that count for a mode: those that were touched in half of the runs or more. Each range has the number of its
    /// first page, and how many there are.
    pub fn counting<'a>(&self, runs: &'a [Run]) -> impl Iterator<Item = (i64, u64)> + use<'a> {
        let all = u64::from(self.runs);
        let counting = runs.iter().filter(move |(.., times)| 2 * u64::from(*times) >= all);
        counting.map(|&(first, pages, _)| (first, pages))
    }

    /// Whether a page counts for a mode.
    pub fn counts(&self, runs: &[Run], page: i64) -> bool {
        self.counting(runs).any(|(first, pages)| first <= page && page.abs_diff(first) < pages)
    }
}

/// Pages and in how many runs they were touched, as runs.
pub fn runs(pages: &BTreeMap<i64, u32>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (&page, &times) in pages {
        match runs
            .last_mut()
            .filter(|last| last.0.checked_add_unsigned(last.1) == Some(page) && last.2 == times)
        {
            Some(last) => last.1 += 1,
            None => runs.push((page, 1, times)),
        }
    }
    runs
}

/// A fingerprint as recordings have it.
pub fn digits(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Where a program's recording is if nobody says otherwise.
///
/// # Errors
/// There is no such program, or the environment does not tell where images are.
pub fn usual_file(program: &Path) -> Result<PathBuf> {
    Ok(usual_place()?.join(format!(".{}.recording", name_of(program)?)))
}

/// Reads a recording; `None` if there is no such file.
///
/// # Errors
/// It cannot be read, or a line is no mode.
pub fn read(path: &Path) -> Result<Option<Vec<Mode>>> {
    let name = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(name)?,
    };
    parse(&text).with_context(name).map(Some)
}

/// The modes in a recording's text.
///
/// # Errors
/// It is none, or of another version.
pub fn parse(text: &str) -> Result<Vec<Mode>> {
    let modes = (1..).zip(text.lines()).map(|(number, line)| {
        let mode: Mode =
            serde_json::from_str(line).with_context(|| format!("line {number} is not of a recording"))?;
        match mode.version {
            VERSION => Ok(mode),
            version => bail!("line {number}: format version {version}, not {VERSION}"),
        }
    });
    modes.collect()
}

/// The lines of a recording.
///
/// # Errors
/// A path is not UTF-8.
pub fn to_lines(modes: &[Mode]) -> Result<String> {
    let lines = modes.iter().map(|mode| Ok(serde_json::to_string(mode)? + "\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode() -> Mode {
        let times = Times { rounds: 100, better: 70, without: 2.0, with: 1.0 };
        let touched = Touched {
            path: "/lib/liba.so".into(),
            fingerprint: "0123".into(),
            main: vec![(0, 2, 3), (2, 1, 1), (5, 2, 2)],
            written: vec![(6, 1, 2)],
            exit: vec![(0, 7, 3)],
        };
        Mode {
            version: VERSION,
            program: "/bin/prog".into(),
            arguments: vec!["-x".into()],
            runs: 3,
            libraries: vec![touched],
            trial: Some(Trial { warm: times, cold: times }),
        }
    }

    #[test]
    fn recordings_are_read_as_they_were_written() {
        let modes = [mode(), Mode { trial: None, ..mode() }];
        assert_eq!(parse(&to_lines(&modes).unwrap()).unwrap(), modes);
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        let other = to_lines(&[Mode { version: 1, ..mode() }]).unwrap();
        for (text, cause) in
            [("{}", "line 1 is not"), ("\n", "line 1 is not"), (&other, "format version 1, not 2")]
        {
            let error = parse(text).expect_err(text);
            assert!(format!("{error:#}").contains(cause), "{error:#}");
        }
    }

    #[test]
    fn a_page_counts_if_it_was_touched_in_half_of_the_runs() {
        let mode = mode();
        let runs = &mode.libraries[0].main;
        assert_eq!(mode.counting(runs).collect::<Vec<_>>(), [(0, 2), (5, 2)]);
        let pages = (-2..10).filter(|&page| mode.counts(runs, page));
        assert_eq!(pages.collect::<Vec<_>>(), [0, 1, 5, 6]);
    }

    #[test]
    fn pages_become_runs() {
        let pages = BTreeMap::from([(-1, 2), (0, 2), (1, 1), (3, 1)]);
        assert_eq!(runs(&pages), [(-1, 2, 2), (1, 1, 1), (3, 1, 1)]);
    }

    #[test]
    fn chance_is_no_win() {
        let times = |better, with| Times { rounds: 100, better, without: 10.0, with };
        let (win, even, loss) = (times(61, 9.0), times(55, 9.0), times(39, 11.0));
        assert!(Trial { warm: win, cold: even }.wins() && Trial { warm: even, cold: win }.wins());
        assert!(!Trial { warm: even, cold: even }.wins());
        assert!(!Trial { warm: win, cold: loss }.wins() && !Trial { warm: loss, cold: win }.wins());
    }
}
