//! The programs: libraries with three functions each, a library that calls them in turn, and a program that measures how long
//! that takes, by the processor's time stamps (`calls.c`).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::bench::compile::in_parallel;
use crate::{paths, proc};

/// The program that measures.
const MAIN: &str = include_str!("calls.c");

/// What a libc is called, and its compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Libc {
    /// musl
    Musl,
    /// glibc
    Glibc,
}

impl Libc {
    fn compiler(self) -> &'static str {
        match self {
            Self::Musl => "musl-gcc",
            Self::Glibc => "gcc",
        }
    }
}

/// How libraries are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As usual.
    Usual,
    /// By `linker-scripts/morsel.ld`: code far away from data.
    Far,
    /// As usual, but all functions begin at the same place of a page.
    Alike,
}

/// What each call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The library that is called calls the next one, instead of working itself.
    pub relayed: bool,
    /// Steps of arithmetic that wait for each other; 0 for functions that are empty.
    pub steps: u64,
    /// Bytes of memory that the calls go through, all libraries together.
    pub memory: u64,
}

/// What one time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A round over all libraries: tells how much rounds differ, in steps of the time stamp counter.
    Round,
    /// As many rounds as take [`LONG`]: tells what a call takes, however large the counter's steps are.
    Long,
}

/// How long a long sample is, in nanoseconds: two thousand steps of a counter that goes in steps of 10 ns.
const LONG: u64 = 20_000;

/// Times of a call in nanoseconds, over all samples of one run.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Half of the samples take less, for each call.
    pub median: f64,
    /// 90 of 100 do.
    pub p90: f64,
    /// 99 of 100 do.
    pub p99: f64,
    /// 999 of 1000 do.
    pub p999: f64,
    /// KiB that the process has in huge pages of files at the end.
    pub huge: u64,
}

/// A program in its folder.
pub struct Program {
    /// Its file.
    pub file: PathBuf,
    /// How many libraries it has, besides the one that calls them.
    pub libraries: usize,
}

/// How many calls a run makes.
const CALLS: usize = 500_000;

/// How many, if they go through more memory than the caches that are the processor's own hold: what else is done in the machine
/// disturbs those, so that a short run tells little.
const CALLS_IN_MUCH_MEMORY: usize = 4 * CALLS;

/// More memory than that, in bytes.
const MUCH_MEMORY: u64 = 1 << 20;

/// Bytes of memory that each library has for its calls, at most.
const ROOM: u64 = 128 << 10;

impl Program {
    /// Compiles it, if it is not there, for this loader.
    pub fn make(libraries: usize, libc: Libc, shape: Shape, loader: Option<&Path>) -> Result<Self> {
        let texts = [library_text(0, libraries, shape), caller_text(libraries), MAIN.to_owned()];
        let what = format!("{libc:?}{shape:?}");
        let key = paths::content_key(&[&texts[0], &texts[1], &texts[2], &what]);
        let dir = paths::cache()?.join("calls").join(format!("{libraries}-{what}-{key}"));
        if !dir.exists() {
            let new = dir.with_extension("new");
            let _ = fs::remove_dir_all(&new);
            fs::create_dir_all(&new)?;
            compile(&new, libraries, libc, shape)?;
            fs::rename(&new, &dir)?;
        }
        let file = match loader {
            None => dir.join("main"),
            Some(loader) => {
                let name = format!("main-{}", paths::content_key(&[&loader.to_string_lossy()]));
                let file = dir.join(name);
                if !file.exists() {
                    link(&dir, &file, libc, Some(loader))?;
                }
                file
            }
        };
        Ok(Self { file, libraries })
    }

    /// The files of its libraries.
    pub fn shared_libraries(&self) -> Result<Vec<PathBuf>> {
        let folder = self.file.parent().context("a program without a folder")?;
        let numbered = (0..self.libraries).map(|number| folder.join(format!("libcall{number}.so")));
        Ok(numbered.chain([folder.join("libcaller.so")]).collect())
    }

    /// The arguments for a load.
    pub fn arguments(&self, load: Load, sample: Sample) -> [String; 5] {
        let share = (load.memory / self.libraries as u64).next_power_of_two().clamp(64, ROOM);
        let calls = if load.memory > MUCH_MEMORY { CALLS_IN_MUCH_MEMORY } else { CALLS };
        let rounds = (calls / self.libraries) as u64;
        let least = if sample == Sample::Long { LONG } else { 0 };
        [load.steps, share - 1, rounds, u64::from(load.relayed), least].map(|number| number.to_string())
    }
}

/// Runs a command made of [`Program::arguments`], and reads what it prints.
pub fn times(command: &mut std::process::Command) -> Result<Times> {
    let output = proc::output(command)?;
    let numbers: Vec<f64> = output.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [median, p90, p99, p999, huge] = numbers[..] else { bail!("it prints {output:?}") };
    Ok(Times { median, p90, p99, p999, huge: huge as u64 })
}

/// Libraries are not alike: unless the shape says otherwise, functions begin at different places of a page.
fn library_text(number: usize, libraries: usize, shape: Shape) -> String {
    let next = (number + 1) % libraries;
    let space = if shape == Shape::Alike { 0 } else { number * 1216 % 3840 };
    format!(
        "#include \"calls.h\"\n\
         __attribute__((used)) static void space(void) {{ __asm__(\".fill {space}, 1, 0x90\"); }}\n\
         static unsigned char memory[{ROOM}];\n\
         static unsigned long at;\n\
         void empty_{number}(void) {{}}\n\
         void empty_{next}(void);\n\
         void relay_{number}(void) {{ empty_{next}(); }}\n\
         unsigned long work_{number}(const struct job *job, unsigned long x) {{\n\
         \tmemory[at & job->mask]++, at += 64;\n\
         \tfor (unsigned long n = job->steps; n; n--) x = x * 6364136223846793005 + 1;\n\
         \treturn x;\n}}\n"
    )
}

const HEADER: &str = "struct job { unsigned long steps, mask; };\n";

fn caller_text(libraries: usize) -> String {
    let mut text = "#include \"calls.h\"\n".to_owned();
    for number in 0..libraries {
        let _ = writeln!(
            text,
            "void empty_{number}(void), relay_{number}(void); unsigned long work_{number}(const struct job *, unsigned long);"
        );
    }
    let all = |call: &dyn Fn(usize) -> String| (0..libraries).map(call).collect::<String>();
    let _ = writeln!(text, "void all_empty(void) {{ {} }}", all(&|n| format!("empty_{n}();\n")));
    let _ = writeln!(text, "void all_relay(void) {{ {} }}", all(&|n| format!("relay_{n}();\n")));
    let work = all(&|n| format!("x = work_{n}(job, x);\n"));
    let _ = writeln!(
        text,
        "unsigned long all_work(const struct job *job, unsigned long x) {{ {work} return x; }}"
    );
    let _ = writeln!(text, "const int calls = {libraries};");
    text
}

fn compile(dir: &Path, libraries: usize, libc: Libc, shape: Shape) -> Result<()> {
    fs::write(dir.join("calls.h"), HEADER)?;
    fs::write(dir.join("main.c"), MAIN)?;
    let shared = |name: &str, text: &str, needed: &[PathBuf]| {
        let source = dir.join(format!("{name}.c"));
        fs::write(&source, text)?;
        let mut gcc = proc::command(libc.compiler());
        gcc.args(["-O2", "-fPIC", "-shared", "-fno-toplevel-reorder", "-fno-optimize-sibling-calls", "-o"])
            .arg(dir.join(name))
            .arg(&source);
        gcc.arg(format!("-Wl,-soname,{name},-rpath,$ORIGIN,--no-as-needed"));
        if shape == Shape::Far {
            gcc.arg(format!("-Wl,-T,{}", paths::repo().join("linker-scripts/morsel.ld").display()));
            gcc.arg("-Wl,-z,now,-z,noseparate-code,-z,max-page-size=0x200000");
        }
        proc::output(gcc.args(needed)).map(|_| ())
    };
    let name = |number| format!("libcall{number}.so");
    in_parallel(libraries, |number| shared(&name(number), &library_text(number, libraries, shape), &[]))?;
    let needed: Vec<PathBuf> = (0..libraries).map(|number| dir.join(name(number))).collect();
    shared("libcaller.so", &caller_text(libraries), &needed)?;
    link(dir, &dir.join("main"), libc, None)
}

fn link(dir: &Path, file: &Path, libc: Libc, loader: Option<&Path>) -> Result<()> {
    let mut gcc = proc::command(libc.compiler());
    gcc.args(["-O2", "-o"]).arg(file).arg(dir.join("main.c")).arg(dir.join("libcaller.so"));
    gcc.arg("-Wl,-rpath,$ORIGIN");
    if let Some(loader) = loader {
        gcc.arg(format!("-Wl,--dynamic-linker={}", loader.display()));
    }
    proc::output(&mut gcc).map(|_| ()).with_context(|| file.display().to_string())
}
