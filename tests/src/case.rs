//! A case: what to build, how to run it, and what must be seen.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use regex::Regex;

use crate::directives;
use crate::elf_edit::Edit;
use crate::normalise::Extra;
use crate::run::Ending;
use crate::worlds::{Mode, Version, World};

/// A value that holds in some worlds only.
#[derive(Clone, Debug)]
pub struct Qualified<T> {
    /// All of them must match a world for the value to hold there.
    pub qualifiers: Vec<String>,
    /// The value itself.
    pub value: T,
}

impl<T> Qualified<T> {
    /// Whether the value holds in `world`.
    pub fn holds_in(&self, world: World) -> bool {
        self.qualifiers.iter().all(|qualifier| world.matches(qualifier))
    }
}

/// One thing that must be seen.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The next line of the standard output.
    Stdout(String),
    /// A pattern somewhere in the standard output.
    StdoutMatches(Regex),
    /// The next line of the standard error.
    Stderr(String),
    /// A pattern somewhere in the standard error.
    StderrMatches(Regex),
    /// How the process ends; exit 0 if nothing is said.
    Ending(Ending),
    /// The outcome varies or does not matter.
    Anything,
}

/// An expectation and the worlds where it holds.
pub type Expectation = Qualified<Expected>;

impl Expectation {
    /// Whether this expectation can fail for a run that does nothing.
    pub fn asserts_something(&self) -> bool {
        match &self.value {
            Expected::Anything => false,
            Expected::Ending(ending) => *ending != Ending::Exit(0),
            _ => true,
        }
    }

    /// Whether this expectation allows every outcome.
    pub fn is_anything(&self) -> bool {
        matches!(self.value, Expected::Anything)
    }
}

/// One source file, cut out of the case's file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the build folder.
    pub name: String,
    /// Where it begins in the case's file, for the compiler's messages.
    pub first_line: usize,
    /// Its content.
    pub text: String,
}

/// One step of building a case, in the order of the directives.
#[derive(Clone, Debug)]
pub enum BuildStep {
    /// A shared library.
    Lib {
        /// File name.
        output: String,
        /// Sources and flags.
        arguments: String,
    },
    /// A program, which names the loader.
    Prog {
        /// File name.
        output: String,
        /// Sources and flags.
        arguments: String,
    },
    /// A shell command.
    Make {
        /// The command.
        command: String,
    },
    /// A change of some bytes of an ELF file.
    Patch {
        /// The file.
        file: String,
        /// The change.
        edit: Edit,
    },
}

/// A case, as its file describes it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The path below `cases/`, without extension.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The points of the specification that it covers, or `beyond`.
    pub spec: Vec<String>,
    /// The source files; the first is the main program.
    pub sources: Vec<Source>,
    /// How to build it.
    pub steps: Vec<BuildStep>,
    /// Whether a step makes the program, or the case says that there is none.
    pub has_program: bool,
    /// The run path linked into programs.
    pub rpath: Option<String>,
    /// Arguments of the program.
    pub arguments: Vec<Qualified<String>>,
    /// Variables set for the program.
    pub environment: Vec<Qualified<(String, String)>>,
    /// A shell command to run in place of the program.
    pub run: Vec<Qualified<String>>,
    /// Options given to the loader in direct mode.
    pub loader_options: Vec<Qualified<String>>,
    /// The ways of invocation that make sense.
    pub modes: Vec<Mode>,
    /// The versions of musl that make sense.
    pub versions: Vec<Version>,
    /// In which way the loader under test is meant to differ.
    pub beyond_musl: Option<String>,
    /// Why the program gets no image when the suite runs with images.
    pub without_image: Option<String>,
    /// Whether each run gets a copy of the build folder of its own, because it changes files.
    pub sandbox: bool,
    /// The time limit of one run.
    pub timeout: Duration,
    /// Further normalisations.
    pub normalise: Vec<Extra>,
    /// What must be seen.
    pub expectations: Vec<Expectation>,
}

impl Case {
    /// A case with nothing but its name and the default settings.
    pub fn new(name: &str, path: &Path) -> Case {
        Case {
            name: name.to_owned(),
            path: path.to_owned(),
            spec: Vec::new(),
            sources: Vec::new(),
            steps: Vec::new(),
            has_program: false,
            rpath: Some("$ORIGIN".to_owned()),
            arguments: Vec::new(),
            environment: Vec::new(),
            run: Vec::new(),
            loader_options: Vec::new(),
            modes: Mode::ALL.to_vec(),
            versions: Version::ALL.to_vec(),
            beyond_musl: None,
            without_image: None,
            sandbox: false,
            timeout: Duration::from_secs(10),
            normalise: Vec::new(),
            expectations: Vec::new(),
        }
    }

    /// Whether the system's musl can do what the case asks of the loader under test.
    pub fn suits_the_system_musl(&self) -> bool {
        self.beyond_musl.is_none() && self.versions.contains(&Version::V1_2_3)
    }

    /// The name of the main source file in the build folder.
    pub fn main_source(&self) -> String {
        let extension = self.path.extension().and_then(|e| e.to_str()).unwrap_or("c");
        format!("main.{extension}")
    }

    /// The values of a list that hold in `world`, in their order.
    pub fn in_world<T>(values: &[Qualified<T>], world: World) -> impl Iterator<Item = &T> {
        values.iter().filter(move |value| value.holds_in(world)).map(|value| &value.value)
    }
}

/// Reads every case below `folder`, sorted by name.
pub fn discover(folder: &Path) -> Result<Vec<Case>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            directives::parse(&name.display().to_string(), &path, &text)
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "c" || e == "s") {
            files.push(path);
        }
    }
    Ok(())
}
