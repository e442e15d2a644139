//! Counts the instructions of a program's start, the kernel's included, in a guest whose clock counts instructions:
//! figures that hardly vary from run to run or from machine to machine, unlike times. They say nothing of caches.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::guest::{Guest, quote};
use super::kernel::Kernel;
use super::target;
use crate::{paths, proc};

/// The root on the guest's disk.
pub const DISK: &str = "/disk";
/// The same on a tmpfs that has huge pages.
pub const HUGE: &str = "/huge";

/// Where processes are held that live while others are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Where they set their mark in main.
    Mark,
    /// Where they read their standard input.
    Input,
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where its root is in the guest: [`DISK`] or [`HUGE`].
    pub root: &'static str,
    /// What the guest's shell does before it is counted, and afterwards.
    pub setting: (String, String),
    /// Its name in the result.
    pub name: String,
    /// The program and its arguments, as paths below the root.
    pub command: Vec<String>,
    /// Its environment beside PATH, as `NAME=value`.
    pub environment: Vec<String>,
    /// How often to start it: a few rounds do for large programs.
    pub rounds: usize,
    /// How many other processes of it live meanwhile, and where.
    pub others: (usize, Hold),
    /// `LD_MORSEL_MAP` of the others, if it is not the program's own.
    pub others_map: Option<&'static str>,
}

/// Instructions of one kind over all rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Count {
    /// The least; for tiny programs, where one interrupt of the clock shows.
    pub min: u64,
    /// The median; for large programs, in whose every round there are some.
    pub median: u64,
}

/// The instructions of one program.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// Its name.
    pub name: String,
    /// How often it was started.
    pub rounds: usize,
    /// From just before the start to its exit.
    pub to_exit: Count,
    /// From just before the start to the mark in main; None if it sets none (see `bench`).
    pub to_main: Option<Count>,
    /// Page faults, the median: one that had to start again counts, and nothing is read from the disk.
    pub faults: u64,
    /// KiB of page tables: one of the others' own, and what all others together have brought. None without others.
    pub tables: Option<(u64, i64)>,
}

/// Starts programs in a guest, all in one boot. `root` is the folder that becomes their root; `modules` are kernel
/// modules: the first is loaded before, the others are there for the targets' settings.
pub fn measure(kernel: &Kernel, modules: &[&Path], root: &Path, targets: &[Target]) -> Result<Vec<Counts>> {
    let mut script = String::new();
    let mut roots = vec![DISK];
    let huge = targets.iter().any(|target| target.root == HUGE);
    if huge {
        roots.push(HUGE);
        writeln!(
            script,
            "mkdir {HUGE} && mount -t tmpfs -o huge=always,size=75% tmpfs {HUGE} && cp -a {DISK}/. {HUGE} || exit"
        )?;
    }
    for root in roots {
        writeln!(script, "mount -t proc proc {root}/proc && mount -o bind /dev {root}/dev || exit")?;
    }
    // What the boot left to be done is done in the pause, which passes at once: idle time costs no instructions.
    script += "sync\nsleep 5\n";
    if let Some(first) = modules.first() {
        writeln!(script, "insmod /{} || exit", name_of(first))?;
    }
    for (number, target) in targets.iter().enumerate() {
        let Target {
            root, setting, command, environment, rounds, others: (others, hold), others_map, ..
        } = target;
        let map = others_map.unwrap_or("-");
        let hold = if *hold == Hold::Mark { "mark" } else { "input" };
        let words = |words: &[String]| words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
        let (environment, command) = (words(environment), words(command));
        writeln!(
            script,
            "{}\nenv -i PATH=/usr/bin:/bin {environment} /icount {root} {rounds} {number} {others} {hold} {map} {command} || exit\n{}",
            setting.0, setting.1
        )?;
    }
    let mut guest = Guest::new("icount", kernel, &script);
    guest.files.file("icount", helper()?, 0o755);
    for module in modules {
        guest.files.copy(&name_of(module), module)?;
    }
    guest.disk = Some(root);
    if huge {
        guest.memory = 3072;
    }
    guest.icount = true;
    // Other addresses would be other page tables to fill. While a disk is at work, the clock runs far ahead: that a
    // task waits for minutes of it means nothing.
    guest.parameters = "nokaslr norandmaps sysctl.kernel.hung_task_timeout_secs=0";
    guest.limit = Duration::from_secs(3600);
    let ended = guest.run()?;
    if ended.status != 0 {
        bail!("counting failed in the guest:\n{}", proc::tail(&ended.output, 10));
    }
    targets.iter().enumerate().map(|(number, target)| counts(number, &target.name, &ended.output)).collect()
}

fn name_of(module: &Path) -> String {
    module.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The program that counts in the guest.
fn helper() -> Result<Vec<u8>> {
    let source = include_str!("icount.c");
    let dir = target("icount")?;
    let program = dir.join(paths::content_key(&[source]));
    if !program.exists() {
        let (file, new) = (dir.join("icount.c"), program.with_extension("new"));
        fs::write(&file, source)?;
        let mut gcc = proc::command("musl-gcc");
        proc::output(gcc.args(["-static", "-O2", "-Wall", "-Werror", "-o"]).arg(&new).arg(&file))?;
        fs::rename(new, &program)?;
    }
    fs::read(&program).with_context(|| format!("cannot read {}", program.display()))
}

/// The counts of the program with that number in the helper's output.
fn counts(number: usize, name: &str, output: &str) -> Result<Counts> {
    let (mut exit, mut main, mut faults, mut tables) = (Vec::new(), Vec::new(), Vec::new(), None);
    for line in output.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["million", loops] => {
                let loops: u64 = loops.parse().with_context(|| format!("not a count: {line}"))?;
                // An interrupt or two may fall into it.
                ensure!(
                    (1_000_000..1_100_000).contains(&loops),
                    "the guest's clock does not count instructions: {loops} for a million"
                );
            }
            ["count", of, to_exit, to_main, minor] if of == number.to_string() => {
                let count = |text: &str| text.parse().with_context(|| format!("not a count: {line}"));
                exit.push(count(to_exit)?);
                main.push(count(to_main)?);
                faults.push(count(minor)?);
            }
            ["others", of, own, all] if of == number.to_string() => {
                tables = Some((own.parse()?, all.parse()?));
            }
            _ => {}
        }
    }
    let to_exit = summary(&mut exit).with_context(|| format!("nothing was counted for {name}"))?;
    main.retain(|&count: &u64| count != 0);
    let faults = summary(&mut faults).map(|count| count.median).unwrap_or_default();
    Ok(Counts {
        name: name.to_owned(),
        rounds: exit.len(),
        to_exit,
        to_main: summary(&mut main),
        faults,
        tables,
    })
}

fn summary(counts: &mut [u64]) -> Option<Count> {
    counts.sort_unstable();
    Some(Count { min: *counts.first()?, median: counts[counts.len() / 2] })
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn counts_are_read_from_the_helpers_output() {
        let output = "million 1000003\nothers 0 72 -4\ncount 0 30 20 9\ncount 0 10 5 7\ncount 0 20 15 8\ncount 1 7 0 1\n";
        let first = counts(0, "a", output).unwrap();
        let main = first.to_main.unwrap();
        assert_eq!((first.rounds, first.to_exit.min, first.to_exit.median), (3, 10, 20));
        assert_eq!((main.min, main.median), (5, 15));
        assert_eq!((first.faults, first.tables), (8, Some((72, -4))));
        let second = counts(1, "b", output).unwrap();
        assert!(second.to_main.is_none() && second.tables.is_none());
        assert!(counts(2, "c", output).is_err());
        assert!(counts(0, "a", "million 250\ncount 0 1 1 1\n").is_err());
    }
}
