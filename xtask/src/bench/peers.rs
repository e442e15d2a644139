//! Who takes part in a measurement: our loader, stock musl's, and others that show how good one could be. A new
//! column of the tables is a new `Peer`, a name and a way to start a workload.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::compile::{self, Flavour, PROGRAM, Source, Synthetic};
use super::least;
use super::replica::Replica;
use super::source;
use super::stage::{self, Stage};
use super::workload::{Kind, Start, Workload};
use crate::corpus::manifest::Musl;
use crate::jobs::{self, chroot};
use crate::{paths, proc, ui};

/// A way to start a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Peer {
    /// Stock musl's loader, to which all others are compared
    Stock,
    /// The loader of this repository
    Ours,
    /// The same, fused with stock musl's libc in one file
    Fused,
    /// The loader of this repository, with an image of the program's libraries
    Image,
    /// The same without, again: what differs is noise
    Again,
    /// glibc's loader, calls bound when they are made
    GlibcLazy,
    /// glibc's loader, everything bound at the start
    GlibcNow,
    /// The same source in one static program
    Static,
    /// rustld, another loader in Rust: itself a dynamic glibc program that then loads the other
    Rustld,
    /// An interpreter that only maps stock musl's libc and enters it
    Bare,
    /// An interpreter that does nothing: the kernel's share
    Floor,
}

impl Peer {
    /// Those that take part unless others are asked for.
    pub const USUAL: [Self; 8] = [
        Self::Stock,
        Self::Ours,
        Self::Fused,
        Self::Image,
        Self::GlibcLazy,
        Self::GlibcNow,
        Self::Static,
        Self::Floor,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock musl",
            Self::Ours => "ours",
            Self::Fused => "ours fused",
            Self::Image => "ours + image",
            Self::Again => "ours again",
            Self::GlibcLazy => "glibc lazy",
            Self::GlibcNow => "glibc now",
            Self::Static => "static",
            Self::Rustld => "rustld",
            Self::Bare => "bare",
            Self::Floor => "floor",
        }
    }

    /// Whether it loads dynamic musl programs: those whose instructions are counted.
    pub fn is_loader_of_musl(self) -> bool {
        matches!(self, Self::Stock | Self::Ours | Self::Fused | Self::Image)
    }

    /// How it starts a workload. The error says why it cannot.
    pub fn start(self, lab: &mut Lab, workload: &Workload) -> Result<Start> {
        match &workload.kind {
            Kind::Synthetic(spec) => {
                let synthetic = Synthetic { name: workload.name.clone(), spec: *spec };
                self.start_compiled(lab, &synthetic)
            }
            Kind::Replica(_) if self == Self::Static => bail!("a replica's libraries define names twice"),
            Kind::Replica(_) => {
                let replica = Replica::of(&workload.name, &workload.start()?)?;
                self.start_compiled(lab, &replica)
            }
            Kind::Real(_) | Kind::Given(_) => self.start_existing(lab, workload),
        }
    }

    fn start_compiled(self, lab: &mut Lab, source: &dyn Source) -> Result<Start> {
        let flavour = match self {
            Self::GlibcLazy | Self::GlibcNow => Flavour::Glibc,
            Self::Static => Flavour::Static,
            _ => Flavour::Musl,
        };
        let folder = compile::program(source, flavour)?;
        // The key in the folder's name differs from one version of the generator to the next: not in the stage.
        let program = lab.stage.folder(&format!("{}-{flavour:?}", source.key().0), &folder)?.join(PROGRAM);
        let start = Start::new(&program);
        match self {
            Self::GlibcNow => Ok(start.with("LD_BIND_NOW", "1")),
            Self::GlibcLazy | Self::Static => Ok(start),
            _ => self.interpret(lab, start),
        }
    }

    fn start_existing(self, lab: &mut Lab, workload: &Workload) -> Result<Start> {
        match self {
            Self::GlibcLazy | Self::GlibcNow => bail!("it exists for musl only"),
            Self::Static => bail!("it exists with shared libraries only"),
            _ => {}
        }
        let start = workload.start()?;
        let mark = lab.mark()?;
        let interpreter = stage::interpreter(&start.program)?;
        let interpreter =
            interpreter.with_context(|| format!("{} is not dynamic", start.program.display()))?;
        if !interpreter.to_string_lossy().contains("ld-musl-") {
            bail!(
                "{} is not a musl program: its interpreter is {}",
                start.program.display(),
                interpreter.display()
            );
        }
        match self {
            // It is a glibc program itself, which musl's libraries must not be preloaded to: it goes without a mark.
            Self::Rustld => self.interpret(lab, start),
            // A copy like the others': how the page cache holds the original is the past's doing.
            Self::Stock => {
                let program = lab.stage.with_interpreter(&start.program, Path::new(paths::STOCK))?;
                Ok(Start { program, ..start.preloading(&mark) })
            }
            _ => self.interpret(lab, start.preloading(&mark)),
        }
    }

    /// Has a musl program loaded by this peer.
    fn interpret(self, lab: &mut Lab, start: Start) -> Result<Start> {
        match self {
            Self::Ours | Self::Again => {
                let loader = lab.loader.clone();
                lab.interpreted(start, *b"our", &loader)
            }
            Self::Image => {
                let loader = lab.loader.clone();
                let start = lab.interpreted(start, *b"our", &loader)?;
                lab.with_image(start, None)
            }
            Self::Fused => {
                let fused = chroot::fused(&lab.loader, Musl::V1_2_3)?;
                lab.interpreted(start, *b"fus", &fused)
            }
            Self::Bare => lab.interpreted(start, *b"bar", &least::bare()?),
            Self::Floor => lab.interpreted(start, *b"nop", &least::floor()?),
            Self::Rustld => under_rustld(start),
            Self::Stock | Self::GlibcLazy | Self::GlibcNow | Self::Static => Ok(start),
        }
    }
}

/// What all peers share.
pub struct Lab {
    stage: Stage,
    loader: PathBuf,
}

impl Lab {
    /// With the loader that is to be measured.
    pub fn new(loader: &Path) -> Result<Self> {
        Ok(Self { stage: Stage::new()?, loader: loader.to_owned() })
    }

    /// The start with the program loaded by this file, which gets a name of three letters.
    pub fn interpreted(&mut self, start: Start, name: [u8; 3], loader: &Path) -> Result<Start> {
        let loader = self.stage.loader(name, loader)?;
        let program = self.stage.with_interpreter(&start.program, &loader)?;
        Ok(Start { program, ..start })
    }

    /// The start of a program of ours with an image, which is built for it and its environment by these passes or the usual ones.
    pub fn with_image(&self, start: Start, passes: Option<&str>) -> Result<Start> {
        proc::output(&mut self.build_image(&start, passes)?)?;
        let images = self.image_directory(passes);
        Ok(start.with("LD_MORSEL_IMAGE", format!("require:{}/", images.display())))
    }

    /// The command that builds such an image.
    pub fn build_image(&self, start: &Start, passes: Option<&str>) -> Result<Command> {
        let images = self.image_directory(passes);
        fs::create_dir_all(&images)?;
        let mut build = proc::command(jobs::build::tool()?);
        build.arg("build").arg(&start.program).arg("--into").arg(&images);
        build.args(passes.iter().flat_map(|passes| ["--passes", passes]));
        for (variable, option) in [("LD_LIBRARY_PATH", "--library-path"), ("LD_PRELOAD", "--preload")] {
            if let Some((_, value)) = start.env.iter().find(|(name, _)| name == variable) {
                build.arg(option).arg(value);
            }
        }
        Ok(build)
    }

    /// Where such images are.
    pub fn image_directory(&self, passes: Option<&str>) -> PathBuf {
        self.stage.place(&format!("images-{}", passes.unwrap_or("default").replace('/', "-")))
    }

    /// A library that sends the mark when main is entered, for programs that do not do so themselves.
    fn mark(&self) -> Result<PathBuf> {
        let text = format!("{MARK_LIBRARY}{}", source::MARK);
        let library = least::cached("mark.so", &text, |source, library| {
            let mut gcc = proc::command("musl-gcc");
            proc::output(
                gcc.args(["-O1", "-fPIC", "-shared", "-o"]).arg(library).args(["-x", "c"]).arg(source),
            )
        })?;
        self.stage.loader(*b"mrk", &library)
    }
}

/// Stands in for libc's function that calls main.
const MARK_LIBRARY: &str = concat!(
    "#define _GNU_SOURCE\n#include <dlfcn.h>\n",
    "static void mark(void);\n",
    "typedef int (*entry)(int, char **, char **);\n",
    "static entry program;\n",
    "static int with_mark(int argc, char **argv, char **envp) { mark(); return program(argc, argv, envp); }\n",
    "int __libc_start_main(entry main, int argc, char **argv, void *init, void *fini, void *end) {\n",
    "  int (*real)(entry, int, char **, void *, void *, void *) = dlsym(RTLD_NEXT, \"__libc_start_main\");\n",
    "  program = main;\n",
    "  return real(with_mark, argc, argv, init, fini, end);\n",
    "}\n",
);

/// The release of rustld that is measured.
const RUSTLD: &str = "0.1.57";

/// `rustld PROGRAM`: as an interpreter it would need a separate build that is not in its package. It uses unstable
/// features of Rust, which the stable compiler allows when it is told to be older than it is.
fn under_rustld(start: Start) -> Result<Start> {
    let root = paths::cache()?.join(format!("bench/rustld-{RUSTLD}"));
    let program = root.join("bin/rustld");
    if !program.exists() {
        let spinner = ui::spinner(format!("building rustld {RUSTLD}"));
        let mut cargo = proc::cargo();
        cargo.args(["install", "--quiet", "rustld", "--example", "rustld", "--version", RUSTLD, "--root"]);
        let built = proc::output(cargo.arg(&root).env("RUSTC_BOOTSTRAP", "1"));
        spinner.finish_and_clear();
        built.context("cannot build rustld")?;
    }
    let mut argv = vec![program.clone().into(), start.program.into()];
    argv.extend(start.argv.into_iter().skip(1));
    Ok(Start { program, argv, ..start })
}
