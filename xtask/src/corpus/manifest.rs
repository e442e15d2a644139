//! The contents of `corpus/packages.toml` and `corpus/cases.toml`, checked: every name that one entry uses exists.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// All packages and cases.
pub struct Manifest {
    /// In an order in which what a package needs comes before it.
    pub packages: Vec<Package>,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// Something to build or to fetch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name in this manifest.
    pub name: String,
    /// The source package of Debian that it is built from.
    pub source: Option<String>,
    /// Packages of PyPI, with versions, that are unpacked into `into`.
    #[serde(default)]
    pub wheels: Vec<String>,
    /// The folder of the corpus that it is unpacked into.
    pub into: Option<String>,
    /// Packages that must be there before.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Builds it, or finishes what was unpacked.
    #[serde(default)]
    pub script: String,
}

/// What a case needs of the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Starting a program; no dlopen.
    Start,
    /// dlopen as well.
    Full,
    /// A start-up workload.
    Bench,
}

/// The libc that a case runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
pub enum Musl {
    /// Debian 12's, installed.
    #[default]
    #[serde(rename = "1.2.3")]
    #[value(name = "1.2.3")]
    V1_2_3,
    /// Debian 13's, in the cache.
    #[serde(rename = "1.2.5")]
    #[value(name = "1.2.5")]
    V1_2_5,
}

/// Something to run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it needs of the loader.
    pub kind: Kind,
    /// Whether it is part of `cargo xtask test`.
    #[serde(default)]
    pub quick: bool,
    /// The libc that it runs on.
    #[serde(default)]
    pub musl: Musl,
    /// The packages that it runs.
    pub needs: Vec<String>,
    /// Bash, with `{run PROGRAM}` for a program under the loader in question.
    pub command: String,
    /// What its output must contain.
    pub expect: String,
    /// Its output may differ from stock musl's.
    #[serde(default)]
    pub own_output: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Packages {
    package: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// The folder of the repository that holds the manifest.
pub fn folder() -> PathBuf {
    crate::paths::repo().join("corpus")
}

impl Manifest {
    /// Reads both files.
    pub fn read() -> Result<Self> {
        let Packages { package: packages } = parse("packages.toml")?;
        let Cases { case: cases } = parse("cases.toml")?;
        let mut known = HashSet::new();
        for package in &packages {
            if let Some(unknown) = package.needs.iter().find(|need| !known.contains(need.as_str())) {
                bail!("package {} needs {unknown}, which no earlier entry describes", package.name);
            }
            if !known.insert(package.name.as_str()) {
                bail!("there are two packages {}", package.name);
            }
        }
        for case in &cases {
            if let Some(unknown) = case.needs.iter().find(|need| !known.contains(need.as_str())) {
                bail!("case {} needs {unknown}, which is no package", case.name);
            }
        }
        Ok(Self { packages, cases })
    }

    /// The packages of these names and all that they need, in building order.
    pub fn with_needs<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a Package> {
        let mut wanted: HashSet<&str> = names.into_iter().collect();
        // What a package needs stands before it: one pass from the end finds everything.
        for package in self.packages.iter().rev() {
            if wanted.contains(package.name.as_str()) {
                wanted.extend(package.needs.iter().map(String::as_str));
            }
        }
        self.packages.iter().filter(|package| wanted.contains(package.name.as_str())).collect()
    }
}

fn parse<T: DeserializeOwned>(name: &str) -> Result<T> {
    let path = folder().join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_sound_and_needs_come_first() {
        let manifest = Manifest::read().unwrap();
        let names = |of: &str| -> Vec<_> {
            manifest.with_needs([of]).iter().map(|package| package.name.clone()).collect()
        };
        assert_eq!(names("lua"), ["ncurses", "readline", "lua"]);
        for case in &manifest.cases {
            assert!(case.command.contains("{run "), "{} runs nothing", case.name);
        }
    }
}
