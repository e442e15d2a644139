//! Generates, compiles and checks synthetic programs: `hello`, and grids of N libraries with 1000 exported functions
//! and objects each, of which every library imports 360 from the others through data pointers. Such relocations are
//! made at the start whether or not they are used: the grid measures symbol lookup and little else. Programs lie in
//! the cache under a name made of their content.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::{paths, proc, ui};

const FUNCTIONS: usize = 700;
const OBJECTS: usize = 300;
const IMPORTS: usize = 360;

/// A program to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// A program that needs libc only.
    #[value(name = "hello")]
    Hello,
    /// 10 libraries.
    #[value(name = "grid-10")]
    Grid10,
    /// 100 libraries.
    #[value(name = "grid-100")]
    Grid100,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hello, Self::Grid10, Self::Grid100];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Grid10 => "grid-10",
            Self::Grid100 => "grid-100",
        }
    }

    /// How many libraries it has.
    pub fn libraries(self) -> usize {
        match self {
            Self::Hello => 0,
            Self::Grid10 => 10,
            Self::Grid100 => 100,
        }
    }

    /// Makes sure that it is compiled, and returns it linked for each of these interpreters.
    pub fn build(self, interpreters: &[&Path]) -> Result<Vec<PathBuf>> {
        let count = self.libraries();
        let main = main_source(count);
        let libraries: Vec<_> = (0..count).map(|library| library_source(library, count)).collect();
        let mut parts = vec![main.as_str(), COMPILE];
        parts.extend(libraries.iter().map(String::as_str));
        let name = format!("{}-{}", self.name(), paths::content_key(&parts));
        let dir = paths::cache()?.join("bench").join(name);
        if !dir.join("compiled").exists() {
            let spinner = ui::spinner(format!("compiling {}", self.name()));
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("main.c"), &main)?;
            compile(&dir, &libraries)?;
            fs::write(dir.join("compiled"), "")?;
            spinner.finish_and_clear();
        }
        interpreters.iter().map(|interpreter| link(&dir, count, interpreter)).collect()
    }
}

const COMPILE: &str = "-O1 -fPIC -shared";

fn compile(dir: &Path, sources: &[String]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some((number, source)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, sources.get(n)?)))
        {
            let file = dir.join(format!("{number}.c"));
            fs::write(&file, source)?;
            let library = library_name(number);
            let mut gcc = proc::command("musl-gcc");
            gcc.args(COMPILE.split(' ')).arg(format!("-Wl,-soname,{library}"));
            proc::output(gcc.arg("-o").arg(dir.join(&library)).arg(&file))?;
            fs::remove_file(&file)?;
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a compiling thread panicked"),
        })
    })
}

fn link(dir: &Path, count: usize, interpreter: &Path) -> Result<PathBuf> {
    let program = dir.join(format!("main-{}", paths::content_key(&[&interpreter.to_string_lossy()])));
    if !program.exists() {
        let new = program.with_extension("new");
        let mut gcc = proc::command("musl-gcc");
        gcc.args(["-O1", "-o"]).arg(&new).arg(dir.join("main.c"));
        gcc.args((0..count).map(|library| dir.join(library_name(library))));
        gcc.arg("-Wl,-rpath,$ORIGIN,--allow-shlib-undefined");
        gcc.arg(format!("-Wl,--dynamic-linker={}", interpreter.display()));
        proc::output(&mut gcc)?;
        fs::rename(new, &program)?;
    }
    // With an argument, every imported pointer is used and its result compared.
    proc::output(proc::command(&program).arg("check"))
        .with_context(|| format!("{} is not sound under {}", program.display(), interpreter.display()))?;
    Ok(program)
}

fn library_name(library: usize) -> String {
    format!("libgrid{library:03}.so")
}

/// The name of an export; the first `FUNCTIONS` are functions. About as long as C names are in real libraries.
fn export(library: usize, symbol: usize) -> String {
    let kind = if symbol < FUNCTIONS { "function" } else { "object" };
    format!("grid{library:03}_{kind}_{symbol:04}")
}

/// What a function returns, and an object holds.
fn value(library: usize, symbol: usize) -> usize {
    library * (FUNCTIONS + OBJECTS) + symbol
}

fn library_source(library: usize, count: usize) -> String {
    let mut c = String::new();
    for symbol in 0..FUNCTIONS + OBJECTS {
        let (name, value) = (export(library, symbol), value(library, symbol));
        // Writing to a String cannot fail.
        let _ = match symbol < FUNCTIONS {
            true => writeln!(c, "int {name}(void) {{ return {value}; }}"),
            false => writeln!(c, "int {name} = {value};"),
        };
    }
    let (mut functions, mut objects, mut declarations) = (String::new(), String::new(), String::new());
    for import in 0..IMPORTS {
        // Round robin over the other libraries, and over their symbols in strides that are prime to their number.
        let from = (library + 1 + import % (count - 1)) % count;
        let symbol = (import * 37 + library * 11) % (FUNCTIONS + OBJECTS);
        let (name, value) = (export(from, symbol), value(from, symbol));
        let _ = match symbol < FUNCTIONS {
            true => {
                let _ = writeln!(functions, "  {{ {name}, {value} }},");
                writeln!(declarations, "extern int {name}(void);")
            }
            false => {
                let _ = writeln!(objects, "  {{ &{name}, {value} }},");
                writeln!(declarations, "extern int {name};")
            }
        };
    }
    c + &format!(
        "{declarations}\
         struct f {{ int (*pointer)(void); int value; }};\n\
         struct o {{ int *pointer; int value; }};\n\
         static struct f functions[] = {{\n{functions}  {{ 0, 0 }} }};\n\
         static struct o objects[] = {{\n{objects}  {{ 0, 0 }} }};\n\
         int grid{library:03}_check(void) {{\n\
           for (volatile struct f *f = functions; f->pointer; f++) if (f->pointer() != f->value) return 1;\n\
           for (volatile struct o *o = objects; o->pointer; o++) if (*o->pointer != o->value) return 1;\n\
           return 0;\n\
         }}\n"
    )
}

/// Sets the mark first of all, then, with an argument, checks every pointer of every library.
fn main_source(count: usize) -> String {
    let mut c = String::from("#include <time.h>\n#include <unistd.h>\n");
    for library in 0..count {
        let _ = writeln!(c, "int grid{library:03}_check(void);");
    }
    c += "int main(int argc, char **argv) {\n  struct timespec mark;\n  clock_gettime(CLOCK_MONOTONIC, &mark);\n";
    c += "  (void)!write(3, &mark, sizeof mark);\n  if (argc < 2) return 0;\n";
    for library in 0..count {
        let _ = writeln!(c, "  if (grid{library:03}_check()) return 2;");
    }
    c + "  return 0;\n}\n"
}
