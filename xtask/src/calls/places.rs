//! Why a direct call can be slower than one through a stub: functions that compete for the instruction cache. And why the same calls
//! take longer from some places than from others. A program that writes functions and calls into memory, and nothing else, places
//! them as it is told (`places.c`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{paths, proc};

const SOURCE: &str = include_str!("places.c");

/// How many functions are called.
pub const COUNT: usize = 100;

/// How many are called from different pages: so many that it matters.
pub const MANY: usize = 200;

/// Pages of a MiB, from each of which functions are called.
pub const PAGES: usize = 256;

/// Bytes from a function to the next, where that does not matter.
pub const DISTANCE: usize = 0x25000;

/// A way to call a function, as the program is told of it, and for people.
pub const KINDS: [(&str, &str); 4] = [
    ("s", "through a stub"),
    ("j", "stub that jumps directly"),
    ("d", "direct call"),
    ("i", "`call *slot(%rip)`"),
];

/// Where functions are: how many begin at the same place of a page, bytes from one to the next, and that for people.
pub const LAYOUTS: [(usize, usize, &str); 7] = [
    (1, DISTANCE, "at different places"),
    (8, DISTANCE, "8 at each place"),
    (12, DISTANCE, "12 at each place"),
    (16, DISTANCE, "16 at each place"),
    (32, DISTANCE, "32 at each place"),
    (COUNT, DISTANCE, "all at one place"),
    (COUNT, 0x1000, "all at one place, 4 KiB apart"),
];

/// The program, compiled.
///
/// # Errors
/// There is no compiler.
pub fn program() -> Result<PathBuf> {
    let dir = paths::cache()?.join("calls");
    let program = dir.join(format!("places-{}", paths::content_key(&[SOURCE])));
    if !program.exists() {
        fs::create_dir_all(&dir)?;
        let (source, new) = (program.with_extension("c"), program.with_extension("new"));
        fs::write(&source, SOURCE)?;
        proc::output(proc::command("gcc").args(["-O2", "-Wall", "-o"]).arg(&new).arg(&source))?;
        fs::rename(&new, &program)?;
    }
    Ok(program)
}

/// Nanoseconds of a call of one of so many functions, which are called from this page of a MiB.
///
/// # Errors
/// The program fails.
pub fn time(program: &Path, [count, alike, distance]: [usize; 3], kind: &str, page: usize) -> Result<f64> {
    let numbers = [count, alike, distance].map(|number| number.to_string());
    let said = proc::output(proc::command(program).args(numbers).args([kind, &page.to_string()]))?;
    said.trim().parse().with_context(|| format!("it prints {said:?}"))
}
