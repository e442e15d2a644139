//! A program with an image, for tests of when it may be used.
//!
//! A fixture belongs to one test: what it needs and cannot have is a panic, which fails that test.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::run::{Ending, Outcome, run};
use crate::scratch::Scratch;
use crate::worlds::{BuildCopy, Loaders, Version, morselctl};

const PROGRAM: &str = r#"
#include <stdio.h>
const char *a(void); const char *b(void); extern __thread int counter; void *where(void);
int main(int argc, char **argv) {
    printf("%s %s %d\n", a(), b(), ++counter);
    if (argc > 1) printf("%p\n", where());
}
"#;
/// The source of the first library; `VERSION` is what it shall say.
pub const A: &str = r#"
#include <stdio.h>
const char *b(void); __thread int counter = 6; const char *(*volatile through_data)(void) = b; FILE *const volatile *out = &stdout;
const char *a(void) { fputs(through_data(), *out); fputs(" ", *out); return "VERSION"; }
void *where(void) { return (void *)a; }
"#;
/// The source of the second library; `VERSION` is what it shall say.
pub const B: &str = r#"const char *b(void) { return "VERSION"; }"#;

/// What the program prints while nothing has changed. With an argument, it also prints an address in the first library.
pub const USUAL: &str = "b1 a1 b1 7";

/// A run path by which libraries are found in `lib` if they are not in `early`.
pub const RUN_PATH: &str = "-Wl,-rpath,$ORIGIN/early:$ORIGIN/lib";

/// A folder with a program, `prog`, its two libraries, in `lib`, and its image, in `images`. `early` and `other` are empty.
pub struct Fixture {
    scratch: Scratch,
    loaders: Loaders,
}

impl Fixture {
    /// Builds the program and its image.
    #[expect(clippy::new_without_default, reason = "much is done, and may fail")]
    pub fn new() -> Self {
        let scratch = Scratch::new().expect("a scratch folder");
        let fixture = Self { scratch, loaders: Loaders::find().expect("loaders") };
        for directory in ["lib", "early", "images", "other"] {
            fs::create_dir(fixture.path(directory)).expect(directory);
        }
        fixture.library("lib/liba.so", A, "a1");
        fixture.library("lib/libb.so", B, "b1");
        fixture.source("main.c", PROGRAM);
        fixture.link(fixture.loader(), &[RUN_PATH]);
        fixture.build(&[]);
        fixture
    }

    /// The loader under test.
    pub fn loader(&self) -> &Path {
        self.loaders.for_copy(BuildCopy::Morsel).expect("the loader under test")
    }

    /// The system's libc.
    pub fn libc(&self) -> &Path {
        self.loaders.libc(Version::V1_2_3).expect("libc")
    }

    /// The path of what has this name in the folder; of the folder, if it is empty.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes a source file and returns its path.
    pub fn source(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect(name);
        path
    }

    /// Compiles one source.
    pub fn compile(&self, output: &str, source: &Path, options: &[&str]) {
        let mut command = Command::new("musl-gcc");
        command.current_dir(self.scratch.path()).args(["-O1", "-o", output]).arg(source).args(options);
        assert!(command.status().expect("musl-gcc").success(), "{command:?}");
    }

    /// Builds a library that says `version`.
    pub fn library(&self, output: &str, text: &str, version: &str) {
        let source = self.source("library.c", &text.replace("VERSION", version));
        self.compile(output, &source, &["-shared", "-fPIC"]);
    }

    /// Builds the program, for a loader.
    pub fn link(&self, loader: &Path, options: &[&str]) {
        // The new program is another file, for which the image of the old one says nothing.
        if self.path("prog").exists() && self.image().exists() {
            fs::remove_file(self.image()).expect("the image");
        }
        let interpreter = format!("-Wl,--dynamic-linker={}", loader.display());
        let all = [&["-Llib", "-la", "-lb", &interpreter], options].concat();
        self.compile("prog", &self.path("main.c"), &all);
    }

    /// The command that builds the image, in `images` if the options do not say where.
    pub fn builder(&self, options: &[&str]) -> Command {
        let mut command = Command::new(morselctl().expect("morselctl"));
        command.arg("build").arg(self.path("prog")).args(options).stdout(Stdio::null());
        if !options.contains(&"-o") {
            command.arg("--into").arg(self.path("images"));
        }
        command
    }

    /// Builds the image, and proves it.
    #[track_caller]
    pub fn build(&self, options: &[&str]) {
        assert!(self.builder(options).status().expect("morselctl").success());
        let given =
            options.iter().position(|option| *option == "-o").map(|at| PathBuf::from(options[at + 1]));
        super::verify(&given.unwrap_or_else(|| self.path("images"))).expect("a sound image");
    }

    /// The image, where the loader looks for it.
    pub fn image(&self) -> PathBuf {
        let program = fs::metadata(self.path("prog")).expect("the program");
        self.path("images").join(format!("{:x}-{:x}", program.dev(), program.ino()))
    }

    /// Runs a program with images of `images`, if `settings` do not say otherwise.
    pub fn run_as(&self, program: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("LD_MORSEL_LOG", "info");
        command.env("LD_MORSEL_IMAGE", format!("{}/", self.path("images").display()));
        command.envs(settings.iter().copied());
        run(&mut command, Duration::from_secs(10)).expect("the program")
    }

    /// The program runs with the image and prints `expected`.
    #[track_caller]
    pub fn uses_it(&self, settings: &[(&str, &str)], expected: &str) {
        let outcome = self.run_as(&self.path("prog"), &[], settings);
        assert!(outcome.stderr.contains(" INFO  image /"), "{outcome:?}");
        assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), expected));
    }

    /// The program runs without the image, for this reason, and prints `expected`.
    #[track_caller]
    pub fn refuses_it(&self, settings: &[(&str, &str)], reason: &str, expected: &str) {
        let outcome = self.run_as(&self.path("prog"), &[], settings);
        assert!(outcome.stderr.contains(&format!("is not used: {reason}")), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), expected));
    }
}
