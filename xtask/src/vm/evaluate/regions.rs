//! Regions of a file, mapped and touched by small programs in every way that the kernel has.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Bench, Measured, Table, kilo, ratio};
use crate::proc;
use crate::vm::guest::Guest;
use crate::vm::{target, text};

/// A way to have a region: its name, what `regions.c` calls it, bytes of fault-around, where the file is.
const WAYS: &[(&str, &str, u32, &str)] = &[
    ("mmap (fault-around 64 KiB, the default)", "mmap", 64 << 10, "/disk/region"),
    ("mmap, fault-around 4 KiB", "mmap", 4 << 10, "/disk/region"),
    ("mmap, fault-around 2 MiB", "mmap", 2 << 20, "/disk/region"),
    ("MAP_POPULATE", "populate", 64 << 10, "/disk/region"),
    ("MADV_POPULATE_READ", "advise", 64 << 10, "/disk/region"),
    ("huge pages (tmpfs)", "mmap", 64 << 10, "/huge/region"),
    ("morsel", "morsel", 64 << 10, "/disk/region"),
    ("huge morsel", "huge", 64 << 10, "/disk/region"),
];

/// What is compared with morsels, and they.
const QUICK: &[&str] = &["mmap (fault-around 64 KiB, the default)", "morsel"];

/// Where it is in [`WAYS`].
const MORSEL: usize = 6;

const PERCENTS: [u64; 4] = [1, 10, 50, 100];

/// Further mappings of a process, each of a file of its own.
const MAPPINGS: [u64; 4] = [0, 10, 100, 1000];

/// What is measured: `processes` have the region at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    way: usize,
    mib: u64,
    percent: u64,
    processes: u64,
    mappings: u64,
}

/// A line of the helper's output.
struct Line {
    case: Case,
    first: u64,
    map: u64,
    touch: u64,
    exit: u64,
    faults: u64,
    own: i64,
    all: i64,
}

impl Line {
    fn last(&self) -> u64 {
        self.map + self.touch
    }
}

/// The tables of regions.
pub fn measure(bench: &Bench) -> Result<Measured> {
    let (sizes, counts): (&[u64], &[u64]) = match bench.quick {
        true => (&[32], &[2, 50]),
        false => (&[32, 128], &[1, 10, 50, 100]),
    };
    let mut cases = Vec::new();
    for (way, (name, ..)) in WAYS.iter().enumerate() {
        if bench.quick && !QUICK.contains(name) {
            continue;
        }
        for &mib in sizes {
            cases.extend(PERCENTS.map(|percent| Case { way, mib, percent, processes: 2, mappings: 0 }));
        }
        let counts = counts.iter().filter(|&&count| count != 2);
        cases.extend(counts.map(|&processes| Case { way, mib: 32, percent: 100, processes, mappings: 0 }));
    }
    for way in [0, MORSEL] {
        let beside = MAPPINGS.into_iter().filter(|&mappings| mappings != 0);
        cases.extend(beside.map(|mappings| Case { way, mib: 32, percent: 1, processes: 2, mappings }));
    }
    let lines = in_guest(bench, &cases)?;
    let mut tables: Vec<_> = sizes.iter().map(|&mib| touching(&lines, mib)).collect();
    tables.push(page_tables(&lines, counts));
    tables.push(beside_mappings(&lines));
    Ok(Measured { tables, figures: Vec::new() })
}

fn in_guest(bench: &Bench, cases: &[Case]) -> Result<Vec<Line>> {
    let program = target("evaluate")?.join("regions");
    let source = include_str!("regions.c");
    text::compile(text::compiler().arg("-static"), &program.with_extension("c"), source, &program)?;
    let mut script = String::from(
        "insmod /morsel.ko || exit\n\
         [ -e /sys/kernel/debug/fault_around_bytes ] || { echo no debugfs; exit 1; }\n\
         mkdir /huge && mount -t tmpfs -o huge=always,size=512m tmpfs /huge || exit\n\
         for file in /disk/region /huge/region; do\n\
         dd if=/dev/zero of=$file bs=2M count=64 2>/dev/null || exit\n\
         done\nsync\nsleep 5\ncat /disk/region >/dev/null\n",
    );
    for &Case { way, mib, percent, processes, mappings } in cases {
        let (_, mode, around, file) = WAYS[way];
        writeln!(
            script,
            "echo {around} >/sys/kernel/debug/fault_around_bytes\n\
             /regions {way}:{mib}:{percent}:{processes}:{mappings} {mode} {file} {mib} {percent} {processes} {mappings} || exit"
        )?;
    }
    let mut guest = Guest::new("evaluate", bench.kernel, &script);
    guest.files.copy("morsel.ko", bench.module)?;
    guest.files.copy("regions", &program)?;
    guest.icount = true;
    guest.memory = 2048;
    guest.parameters = "nokaslr norandmaps sysctl.kernel.hung_task_timeout_secs=0";
    guest.limit = Duration::from_secs(1800);
    let ended = guest.run()?;
    if ended.status != 0 {
        bail!("measuring failed in the guest:\n{}", proc::tail(&ended.output, 10));
    }
    let lines = ended.output.lines().filter_map(|line| line.strip_prefix("region "));
    lines.map(|line| parse(line).with_context(|| format!("not a result: {line}"))).collect()
}

fn parse(line: &str) -> Option<Line> {
    let (name, values) = line.split_once(' ')?;
    let numbers =
        |text: &str, by: char| -> Option<Vec<i64>> { text.split(by).map(|word| word.parse().ok()).collect() };
    let (name, values) = (numbers(name, ':')?, numbers(values.trim(), ' ')?);
    let ([way, mib, percent, processes, mappings], [first, map, touch, exit, faults, own, all]) =
        (&name[..], &values[..])
    else {
        return None;
    };
    let positive = |number: &i64| u64::try_from(*number).ok();
    Some(Line {
        case: Case {
            way: usize::try_from(*way).ok()?,
            mib: positive(mib)?,
            percent: positive(percent)?,
            processes: positive(processes)?,
            mappings: positive(mappings)?,
        },
        first: positive(first)?,
        map: positive(map)?,
        touch: positive(touch)?,
        exit: positive(exit)?,
        faults: positive(faults)?,
        own: *own,
        all: *all,
    })
}

fn find(lines: &[Line], case: Case) -> Option<&Line> {
    lines.iter().find(|line| line.case == case)
}

/// The way that others are compared with comes first.
fn reference<'a>(lines: &'a [Line], line: &Line) -> Option<&'a Line> {
    find(lines, Case { way: 0, ..line.case })
}

fn touching(lines: &[Line], mib: u64) -> Table {
    let note = "Instructions (thousands) to map and touch so much of it, in the first process and in a second one \
                while the first lives; for 100 %, what of the second's is mapping, its ratio to mmap's, its page faults, and \
                what it costs to end it.";
    let mut table = Table::new(
        format!("A region of {mib} MiB"),
        note,
        [
            "",
            "first: 1 %",
            "10 %",
            "50 %",
            "100 %",
            "second: 1 %",
            "10 %",
            "50 %",
            "100 %",
            "of it to map",
            "ratio",
            "faults",
            "exit",
        ],
    );
    for (way, (name, ..)) in WAYS.iter().enumerate() {
        let of = |percent| find(lines, Case { way, mib, percent, processes: 2, mappings: 0 });
        let Some(all) = PERCENTS.map(of).into_iter().collect::<Option<Vec<_>>>() else { continue };
        let mut row = vec![(*name).to_owned()];
        row.extend(all.iter().map(|line| kilo(line.first)));
        row.extend(all.iter().map(|line| kilo(line.last())));
        let whole = all[PERCENTS.len() - 1];
        let of_mmap = reference(lines, whole).map(|mmap| ratio(whole.last(), mmap.last()));
        row.extend([
            kilo(whole.map),
            of_mmap.unwrap_or_default(),
            whole.faults.to_string(),
            kilo(whole.exit),
        ]);
        table.rows.push(row);
    }
    table
}

fn page_tables(lines: &[Line], counts: &[u64]) -> Table {
    let mut head = vec!["".to_owned(), "VmPTE of one".to_owned()];
    head.extend(counts.iter().map(|count| format!("processes: {count}")));
    let note = "KiB, 32 MiB of which each process has read all: VmPTE of the last process, and what all together have \
                added to PageTables, their own small programs' tables included; in brackets mmap's divided by it.";
    let mut table = Table::new("Page tables", note, head);
    for (way, (name, ..)) in WAYS.iter().enumerate() {
        let of = |&processes| find(lines, Case { way, mib: 32, percent: 100, processes, mappings: 0 });
        let Some(all) = counts.iter().map(of).collect::<Option<Vec<_>>>() else { continue };
        let mut row = vec![(*name).to_owned(), all[all.len() - 1].own.to_string()];
        row.extend(all.iter().map(|line| {
            let mmap = reference(lines, line).map_or(0, |mmap| mmap.all);
            format!("{} ({:.2})", line.all, mmap as f64 / line.all as f64)
        }));
        table.rows.push(row);
    }
    table
}

/// The kernel takes the locks of all files that a process has mapped when it first listens to an address space.
fn beside_mappings(lines: &[Line]) -> Table {
    let note = "Instructions (thousands) to map 32 MiB and touch 1 %, and to end the process, where it has so many mappings \
                besides, each of a file of its own: the first access takes and gives back the locks of all \
                (`mm_take_all_locks`).";
    let mut head = vec![String::new()];
    head.extend(MAPPINGS.iter().map(|mappings| format!("mappings: {mappings}")));
    head.extend(MAPPINGS.iter().map(|mappings| format!("exit: {mappings}")));
    let mut table = Table::new("Beside other mappings", note, head);
    for way in [0, MORSEL] {
        let of = |mappings| find(lines, Case { way, mib: 32, percent: 1, processes: 2, mappings });
        let Some(all) = MAPPINGS.map(of).into_iter().collect::<Option<Vec<_>>>() else { continue };
        let mut row = vec![WAYS[way].0.to_owned()];
        row.extend(all.iter().map(|line| kilo(line.last())));
        row.extend(all.iter().map(|line| kilo(line.exit)));
        table.rows.push(row);
    }
    table
}
