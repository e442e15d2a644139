//! The standard workloads by name: synthetic programs, real ones of the corpus, replicas of those; and any program that
//! somebody names.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::spec::{Spec, Via};
use crate::corpus::manifest::Manifest;
use crate::corpus::packages;
use crate::{corpus, paths, proc};

/// Something whose start is measured.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name on the command line, in figures and reports.
    pub name: String,
    /// One line on what it is.
    pub what: String,
    /// What it is made of.
    pub kind: Kind,
    /// The series that it is a point of, if the point is how costs grow.
    pub series: Option<Series>,
}

/// Workloads that differ in one number only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Series {
    /// More and more libraries, each with the same few imports.
    Libraries,
    /// More and more imports in the same libraries.
    Relocations,
}

/// What a workload is made of.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Generated and compiled, for any libc.
    Synthetic(Spec),
    /// A program of the corpus, which is there for musl only.
    Real(Real),
    /// Stubs that have the names and numbers of a program of the corpus, for any libc.
    Replica(Real),
    /// A program that the user named.
    Given(Start),
}

/// The programs of the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Real {
    /// Python with all libraries of scientific packages preloaded.
    PreloadAll,
    /// A large C++ program.
    ClangFormat,
    /// Node, with a C++ library of its own.
    Node,
}

/// How to start a program, whatever its loader.
#[derive(Debug, Clone)]
pub struct Start {
    /// The file.
    pub program: PathBuf,
    /// Its name and arguments.
    pub argv: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its standard input; none is empty.
    pub input: Option<PathBuf>,
}

/// The environment that every program gets: always the same, wherever we are.
fn environment() -> Vec<(OsString, OsString)> {
    vec![("PATH".into(), "/usr/bin:/bin".into()), ("LC_ALL".into(), "C".into())]
}

impl Start {
    /// Of a program without arguments.
    pub fn new(program: &Path) -> Self {
        Self { program: program.into(), argv: vec![program.into()], env: environment(), input: None }
    }

    /// With one more variable in front of the others.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(0, (name.into(), value.into()));
        self
    }

    /// With one more library preloaded, before all others.
    pub fn preloading(mut self, library: &Path) -> Self {
        let mut value = library.as_os_str().to_owned();
        if let Some(at) = self.env.iter().position(|(name, _)| name == "LD_PRELOAD") {
            value.push(":");
            value.push(self.env.remove(at).1);
        }
        self.with("LD_PRELOAD", value)
    }
}

impl Workload {
    fn synthetic(name: &str, what: &str, spec: Spec) -> Self {
        Self { name: name.to_owned(), what: what.to_owned(), kind: Kind::Synthetic(spec), series: None }
    }

    fn real(name: &str, what: &str, real: Real) -> Self {
        Self { name: name.to_owned(), what: what.to_owned(), kind: Kind::Real(real), series: None }
    }

    /// A program of the user's, with its arguments and with variables `NAME=VALUE` beside the usual environment.
    pub fn given(program: &Path, args: &[OsString], variables: &[String]) -> Result<Self> {
        let path = fs::canonicalize(program).with_context(|| format!("cannot find {}", program.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = path.display().to_string();
        let mut start = Start::new(&path);
        start.argv.extend(args.iter().cloned());
        for variable in variables {
            let (name, value) =
                variable.split_once('=').with_context(|| format!("--env {variable}: it is NAME=VALUE"))?;
            start = start.with(name, value);
        }
        Ok(Self { what, name, kind: Kind::Given(start), series: None })
    }

    /// How the program of a real or given workload, or the original of a replica, is started by its own loader; fetches
    /// or builds it first.
    pub fn start(&self) -> Result<Start> {
        match &self.kind {
            Kind::Synthetic(_) => bail!("{} is generated", self.name),
            Kind::Real(real) | Kind::Replica(real) => real.start(),
            Kind::Given(start) => Ok(start.clone()),
        }
    }
}

/// All standard workloads, small ones first.
pub fn standard() -> Vec<Workload> {
    let grid = |count: usize| {
        let what = format!("{count} libraries of 1000 exports, 360 imports each, through data");
        Workload::synthetic(&format!("grid-{count}"), &what, Spec::grid(count))
    };
    let tls = Spec { libraries: 50, functions: 50, thread_locals: 20, ..Spec::HELLO };
    let vtables = Spec { libraries: 20, functions: 100, imports: 50, classes: 150, ..Spec::HELLO };
    let relative = Spec { libraries: 4, functions: 100, imports: 10, relative: 50_000, ..Spec::HELLO };
    let deep = Spec { depth: 100, name_length: 80, ..Spec::grid(100) };
    // Named as by C++: the chain of dependencies and the names are what this one adds to grid-100.
    let deep = Spec { functions: 300, objects: 100, via: Via::Calls, ..deep };
    vec![
        Workload::synthetic("hello", "a program that needs libc only", Spec::HELLO),
        grid(10),
        grid(100),
        grid(300),
        Workload::synthetic(
            "far-100",
            "the libraries of grid-100, linked with linker-scripts/morsel.ld",
            Spec { far: true, ..Spec::grid(100) },
        ),
        Workload::synthetic(
            "calls-100",
            "100 libraries of 1000 exports, 360 imports each, through calls that are never made",
            Spec::calls(100),
        ),
        Workload::synthetic(
            "chain-100",
            "100 libraries, each needing the next, with names of 80 bytes",
            deep,
        ),
        Workload::synthetic("tls", "50 libraries with 20 thread-local variables each", tls),
        Workload::synthetic("vtables", "20 libraries with 150 C++-like classes each", vtables),
        Workload::synthetic("relative", "4 libraries with 50,000 pointers into themselves each", relative),
        Workload::real("clang-format", "clang-format 17, with its own C++ library", Real::ClangFormat),
        Workload::real("node", "Node 20: the program alone has 60 MB", Real::Node),
        Workload::real(
            "preload-all",
            "Python with more than 200 libraries of scientific packages preloaded",
            Real::PreloadAll,
        ),
        Workload {
            name: "replica".to_owned(),
            what: "stubs with the names and numbers of preload-all's libraries".to_owned(),
            kind: Kind::Replica(Real::PreloadAll),
            series: None,
        },
    ]
}

/// The workloads of both series.
pub fn scaling() -> Vec<Workload> {
    let point = |series: Series, count: usize, spec: Spec| {
        let name = format!("{series:?}-{count}").to_lowercase();
        let what = format!("{} libraries, {} relocations", spec.libraries, spec.symbolic());
        Workload { series: Some(series), ..Workload::synthetic(&name, &what, spec) }
    };
    let small = Spec { functions: 150, objects: 50, imports: 20, ..Spec::HELLO };
    let libraries = [3, 10, 30, 100, 300]
        .map(|libraries| point(Series::Libraries, libraries, Spec { libraries, ..small }));
    let relocations = [10, 30, 100, 300, 1000, 3000]
        .map(|imports| point(Series::Relocations, 30 * imports, Spec { imports, ..Spec::grid(30) }));
    libraries.into_iter().chain(relocations).collect()
}

impl Real {
    fn start(self) -> Result<Start> {
        let package = match self {
            Self::PreloadAll => "python-site",
            Self::ClangFormat => "clang-format",
            Self::Node => "node",
        };
        packages::provide(&Manifest::read()?, [package])?;
        let corpus = corpus::dir()?;
        match self {
            Self::ClangFormat => {
                let input = paths::cache()?.join("bench/input.c");
                fs::create_dir_all(input.parent().unwrap_or(&corpus))?;
                fs::write(&input, "int  main( ){return 0;}\n")?;
                let mut start = Start::new(&corpus.join("clang-format/clang_format/data/bin/clang-format"));
                start.argv.push("--style=LLVM".into());
                start.input = Some(input);
                Ok(start)
            }
            Self::Node => {
                let lib = corpus.join("node/lib");
                let mut start = Start::new(&corpus.join("node/bin/node"));
                start.argv.push("--version".into());
                Ok(start.with("LD_LIBRARY_PATH", &lib).preloading(&lib.join("libbanl.so")))
            }
            Self::PreloadAll => {
                let mut start = Start::new(&corpus.join("root/bin/python3.11"));
                start.argv.extend(["-I", "-S", "-c", "pass"].map(OsString::from));
                let mut folders = OsString::new();
                for folder in library_folders(&corpus.join("site"))? {
                    folders.push(folder);
                    folders.push(":");
                }
                folders.push(corpus.join("root/lib"));
                let objects = mapped_objects(&corpus)?;
                Ok(start.with("LD_LIBRARY_PATH", folders).with("LD_PRELOAD", objects.join(":")))
            }
        }
    }
}

/// The folders in which packages keep libraries that they brought.
fn library_folders(site: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(site).with_context(|| format!("cannot read {}", site.display()))?;
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "libs"))
        .collect();
    folders.sort();
    Ok(folders)
}

/// What Python has mapped when all packages are imported; the case `preload-all` of the corpus uses the same list.
fn mapped_objects(corpus: &Path) -> Result<Vec<String>> {
    let list = corpus.join("objects");
    if !list.exists() {
        let new = corpus.join("objects.new");
        let mut python = proc::command(corpus.join("root/bin/python3.11"));
        python.arg(corpus::manifest::folder().join("import-all.py")).arg(&new);
        python.env("PYTHONPATH", corpus.join("site")).env("MPLCONFIGDIR", corpus.join(".build"));
        proc::output(python.current_dir(corpus))?;
        fs::rename(&new, &list)?;
    }
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let chosen =
        text.lines().filter(|line| !["ld-musl", "libc.so", "libpython"].iter().any(|not| line.contains(not)));
    let objects: Vec<_> = chosen.map(str::to_owned).collect();
    if objects.len() < 200 {
        bail!("{} lists {} libraries; more than 200 were to be expected", list.display(), objects.len());
    }
    Ok(objects)
}
