//! The experiment with relocation at page-in: two small C programs, which know nothing of the loader, map the pages of a real
//! image in every way that a stock kernel offers, measure what that costs (`cost.c`) and try what it breaks (`effects.c`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::relocated::Relocated;
use crate::bench::stats::Summary;
use crate::{apt, paths, proc};

/// The user that stands for all who are not root: nobody.
const USER: u32 = 65534;

/// The first access to how many of a thousand pages is measured.
pub const SHARES: [u32; 3] = [10, 100, 1000];

/// What it costs, in one way.
#[derive(Debug, Clone)]
pub struct Cost {
    /// The name of the way, and whether it is the first process or a later one.
    pub way: (String, String),
    /// How many of a thousand pages were touched.
    pub share: u32,
    /// Until the region could be used.
    pub set_up: Summary,
    /// Until the region could be used and the pages were touched.
    pub total: Summary,
    /// KiB of the region that became the process's own.
    pub own: u64,
    /// KiB of it that are common to all.
    pub shared: u64,
}

/// What happened when something was done to a page that nobody had touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The name of the way; `kernel` for what the kernel allows.
    pub way: String,
    /// `root` or `user`.
    pub rights: String,
    /// What was done.
    pub deed: String,
    /// `right`, or what else.
    pub result: String,
}

/// The compiled programs and their input, in a folder that anybody can read.
pub struct Laboratory {
    dir: PathBuf,
}

impl Laboratory {
    /// Compiles the programs into this folder.
    ///
    /// # Errors
    /// The compiler is missing or fails.
    pub fn new(dir: &Path) -> Result<Self> {
        const SOURCES: [(&str, &str); 5] = [
            ("region.h", include_str!("page_in/region.h")),
            ("region.c", include_str!("page_in/region.c")),
            ("fuse.c", include_str!("page_in/fuse.c")),
            ("cost.c", include_str!("page_in/cost.c")),
            ("effects.c", include_str!("page_in/effects.c")),
        ];
        apt::install(&["gcc", "libc6-dev", "linux-libc-dev"])?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        for (name, source) in SOURCES {
            fs::write(dir.join(name), source)?;
        }
        for program in ["cost", "effects"] {
            let mut gcc = proc::command("gcc");
            gcc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]).arg(dir.join(program));
            proc::output(
                gcc.arg(dir.join(format!("{program}.c")))
                    .args(["region.c", "fuse.c"].map(|file| dir.join(file))),
            )?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Runs one of the programs on these pages.
    fn run(&self, program: &str, relocated: &Relocated, last: u32) -> Result<String> {
        let (pages, words) = (self.dir.join("pages"), self.dir.join("words"));
        fs::write(&pages, &relocated.pages)?;
        fs::write(&words, relocated.words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>())?;
        let mut command = proc::command(paths::reachable_by_all(&self.dir.join(program))?);
        proc::output(command.arg(pages).arg(words).arg(last.to_string()))
    }

    /// What each way costs: medians of so many rounds.
    ///
    /// # Errors
    /// The kernel lacks something, or a page was not right.
    pub fn costs(&self, relocated: &Relocated, rounds: u32) -> Result<Vec<Cost>> {
        let text = self.run("cost", relocated, rounds)?;
        let mut trials: Vec<Trials> = Vec::new();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [way, process, numbers @ ..] = words.as_slice() else { bail!("not a trial: {line}") };
            let numbers: Vec<u64> = numbers
                .iter()
                .map(|number| number.parse())
                .collect::<Result<_, _>>()
                .with_context(|| format!("not a trial: {line}"))?;
            let &[share, set_up, touch, own, shared] = numbers.as_slice() else {
                bail!("not a trial: {line}")
            };
            let key = ((*way).to_owned(), (*process).to_owned(), share);
            let at = trials.iter().position(|trial| trial.key == key).unwrap_or_else(|| {
                trials.push(Trials { key, set_up: Vec::new(), total: Vec::new(), own, shared });
                trials.len() - 1
            });
            trials[at].set_up.push(set_up as f64 / 1e3);
            trials[at].total.push((set_up + touch) as f64 / 1e3);
        }
        trials.into_iter().map(Trials::cost).collect()
    }

    /// What each way does to a process.
    ///
    /// # Errors
    /// The program cannot do its work.
    pub fn effects(&self, relocated: &Relocated) -> Result<Vec<Effect>> {
        let text = self.run("effects", relocated, USER)?;
        let effect = |line: &str| {
            let [way, rights, deed, result] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
            let [way, rights, deed, result] = [way, rights, deed, result].map(str::to_owned);
            Some(Effect { way, rights, deed, result })
        };
        text.lines().map(|line| effect(line).with_context(|| format!("not an effect: {line}"))).collect()
    }
}

/// The trials of one way with one share of pages.
struct Trials {
    key: (String, String, u64),
    set_up: Vec<f64>,
    total: Vec<f64>,
    own: u64,
    shared: u64,
}

impl Trials {
    fn cost(self) -> Result<Cost> {
        let (way, process, share) = self.key;
        let summary = |times: &[f64]| Summary::of(times).context("no trials");
        Ok(Cost {
            way: (way, process),
            share: u32::try_from(share)?,
            set_up: summary(&self.set_up)?,
            total: summary(&self.total)?,
            own: self.own,
            shared: self.shared,
        })
    }
}
