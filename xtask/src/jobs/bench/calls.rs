//! `cargo xtask bench calls`: how long a call between libraries takes. `cargo xtask bench places`: what that depends on,
//! without libraries. `cargo xtask bench itlb`: misses of the instruction TLB.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bench::results::machine;
use crate::bench::stats::Ratio;
use crate::calls::itlb::{self, Misses};
use crate::calls::places::{self, KINDS, LAYOUTS};
use crate::calls::{Load, Sample, Shape, Times, Way, program, way, ways};
use crate::vm::evaluate::{Table, into_page, today};
use crate::{apt, jobs, paths, ui};

use super::PAGE;

/// Options of the jobs.
#[derive(clap::Args)]
pub struct Args {
    /// Write the tables into docs/passes-evaluation.md
    #[arg(long)]
    write: bool,
    /// How often all is placed in memory anew and measured; calls that do some work in a fifth of them, but in six at least
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Numbers of libraries
    #[arg(long, value_delimiter = ',', default_values_t = [50, 100, 200, 300])]
    libraries: Vec<usize>,
}

/// What calls do: whether they are from each library to the next, nanoseconds of work, and bytes of memory that they go through.
const LOADS: [(bool, u64, u64); 7] = [
    (true, 0, 0),
    (false, 0, 0),
    (false, 34, 64 << 10),
    (false, 34, 1 << 20),
    (false, 34, 4 << 20),
    (false, 190, 64 << 10),
    (false, 190, 4 << 20),
];

/// How many of them are tried with functions that are alike in where they begin: of more work, the place does not matter.
const ALIKE: usize = 4;

/// Loads with work run in one of so many rounds, as single samples do: they take longest, and differ least.
const WORK_IN: u16 = 5;

/// But in so many rounds at the least: an interval of fewer means nothing.
const LEAST: u16 = 6;

/// The job `calls`.
pub fn run(args: &Args) -> Result<bool> {
    let (loader, tool) = tools()?;
    let mut text = format!("{}, {}.\n", machine(), today()?);
    let mut all_remarks = Vec::new();
    let shapes = [
        (Shape::Usual, "", LOADS.len()),
        (Shape::Alike, ", all functions at the same place of a page", ALIKE),
    ];
    let all = args.libraries.iter().flat_map(|libraries| shapes.map(|shape| (*libraries, shape)));
    for (libraries, (shape, how, loads)) in all {
        let (ways, remarks) = ways(libraries, shape, &loader, &tool)?;
        let step = step(&ways[0])?;
        let names: Vec<&str> = ways.iter().map(|way| &*way.name).collect();
        let note = "Time of a call relative to separate libraries under stock musl, whose own stands first in ns: the median over all \
                    rounds. ±: 95 %; in brackets: the quotient of the least times.";
        let head = ["work"].into_iter().chain(names.iter().copied());
        let mut ratios = Table::new(format!("{libraries} libraries{how}"), note, head);
        let note = "Nanoseconds for a call of an empty function, each library calling the next: a round over all libraries, divided by the \
                    number of calls.";
        let mut spread = Table::new(
            format!("{libraries} libraries{how}: distribution"),
            note,
            ["way", "median", "90 %", "99 %", "99.9 %", "KiB in huge pages"],
        );
        let loads = LOADS.iter().take(loads).map(|&(relayed, work, memory)| {
            let load = Load { relayed, steps: (work as f64 / step).round() as u64, memory };
            (label(relayed, work, memory), load)
        });
        let loads: Vec<(String, Load)> = loads.collect();
        let runs = interleaved(&ways, &loads, args.rounds)?;
        for ((label, _), runs) in loads.iter().zip(&runs.times) {
            ratios.rows.push(row(label, runs)?);
        }
        spread.rows.extend(names.iter().zip(&runs.rounds).map(|(name, runs)| distribution(name, runs)));
        for table in [ratios, spread] {
            println!("\n{}", table.markdown());
            text += &format!("\n{}", table.markdown());
        }
        all_remarks = remarks;
    }
    for remark in all_remarks {
        ui::note(&remark);
        text += &format!("\n{remark}\n");
    }
    if args.write {
        into_page(&paths::repo().join(PAGE), "calls", &text)?;
    }
    Ok(true)
}

/// Options of the job `places`.
#[derive(clap::Args)]
pub struct PlacesArgs {
    /// Write the table into docs/passes-evaluation.md
    #[arg(long)]
    write: bool,
    /// How often each program runs
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// The job `places`.
pub fn run_places(args: &PlacesArgs) -> Result<bool> {
    jobs::setup::everything()?;
    let program = places::program()?;
    let note = "Nanoseconds for a call of an empty function: median and, in brackets, least of the runs, each from another page.";
    let head = ["functions"].into_iter().chain(KINDS.map(|(_, name)| name));
    let mut table = Table::new(format!("Places of {} functions", places::COUNT), note, head);
    for (alike, distance, layout) in LAYOUTS {
        let mut times = KINDS.map(|_| Vec::new());
        for round in 0..usize::from(args.rounds) {
            for ((kind, _), times) in KINDS.iter().zip(&mut times) {
                let page = round * places::PAGES / usize::from(args.rounds);
                times.push(places::time(&program, [places::COUNT, alike, distance], kind, page)?);
            }
        }
        let cells = times.iter().map(|times| format!("{:.2} ({:.2})", middle(times), least(times)));
        table.rows.push([layout.to_owned()].into_iter().chain(cells).collect());
    }
    let pages = from_pages(&program, usize::from(args.rounds))?;
    let text = format!("{}, {}.\n\n{}\n{}", machine(), today()?, table.markdown(), pages.markdown());
    println!("\n{text}");
    if args.write {
        into_page(&paths::repo().join(PAGE), "places", &text)?;
    }
    Ok(true)
}

/// The same functions, called from every page of a MiB.
fn from_pages(program: &Path, rounds: usize) -> Result<Table> {
    const SLOW: f64 = 1.04;
    let note = "Nanoseconds for a call of one of so many empty functions at different places, by the page of a MiB that all calls come from: \
                each page's median. Slow is what takes over 1.04 of the median page.";
    let head = ["called", "median page", "slow pages", "their median", "which"];
    let title = format!("Calls of {} functions from each of {} pages", places::MANY, places::PAGES);
    let mut table = Table::new(title, note, head);
    for (kind, name) in KINDS {
        let mut times = vec![Vec::new(); places::PAGES];
        for _ in 0..rounds {
            for (page, times) in times.iter_mut().enumerate() {
                times.push(places::time(program, [places::MANY, 1, places::DISTANCE], kind, page)?);
            }
        }
        let medians: Vec<f64> = times.iter().map(|times| middle(times)).collect();
        let usual = middle(&medians);
        let slow = medians.iter().enumerate().filter(|(_, time)| **time > SLOW * usual);
        let (which, slow): (Vec<String>, Vec<f64>) =
            slow.map(|(page, time)| (format!("{page:02x}"), *time)).unzip();
        let theirs = if slow.is_empty() { "-".to_owned() } else { format!("{:.2}", middle(&slow)) };
        let cells = [format!("{usual:.2}"), slow.len().to_string(), theirs, which.join(" ")];
        table.rows.push([name.to_owned()].into_iter().chain(cells).collect());
    }
    Ok(table)
}

/// The job `itlb`.
pub fn run_itlb() -> Result<bool> {
    const LIBRARIES: usize = 300;
    const CALLS: f64 = 1_110_000.0; // two for each relay, with the rounds before those that are timed
    let (loader, tool) = tools()?;
    apt::install(&["linux-perf"])?;
    let (ways, _) = ways(LIBRARIES, Shape::Usual, &loader, &tool)?;
    let note = "Misses for each thousand calls of empty functions.";
    let mut table = Table::new(format!("{LIBRARIES} libraries"), note, ["way", "iTLB misses"]);
    for way in &ways {
        match itlb::count(way, Load { relayed: true, steps: 0, memory: 0 }, CALLS)? {
            Misses::PerThousand(misses) => table.rows.push(vec![way.name.clone(), format!("{misses:.1}")]),
            Misses::Uncounted(why) => {
                ui::note(format!("this machine cannot count iTLB misses: perf says {why:?}"));
                return Ok(true);
            }
        }
    }
    println!("{}", table.markdown());
    Ok(true)
}

fn tools() -> Result<(PathBuf, PathBuf)> {
    jobs::setup::everything()?;
    Ok((way::cached_loader(&jobs::build::loader()?)?, jobs::build::tool()?))
}

/// Nanoseconds of a step of work: from a load that is nearly nothing else.
fn step(way: &Way) -> Result<f64> {
    const STEPS: u64 = 2000;
    let load = Load { relayed: false, steps: STEPS, memory: 0 };
    let [steps, mask, _, relayed, least] = way.program.arguments(load, Sample::Round);
    let few = "50".to_owned();
    let times = program::times(way.command().args([steps, mask, few, relayed, least]))?;
    Ok(times.median / STEPS as f64)
}

/// What has been measured, for each way.
struct Runs {
    /// For each load, of long samples.
    times: Vec<Vec<Vec<Times>>>,
    /// Of single rounds of the first load.
    rounds: Vec<Vec<Times>>,
}

/// Runs all ways in turn, each time at other places in memory.
fn interleaved(ways: &[Way], loads: &[(String, Load)], rounds: u16) -> Result<Runs> {
    let none = || ways.iter().map(|_| Vec::new()).collect::<Vec<_>>();
    let with_work = (rounds / WORK_IN).max(LEAST);
    let mut runs = Runs { times: loads.iter().map(|_| none()).collect(), rounds: none() };
    for round in 0..rounds {
        for (number, way) in ways.iter().enumerate() {
            let time = |load, sample| {
                let times = program::times(way.command().args(way.program.arguments(load, sample)));
                times.with_context(|| way.name.clone())
            };
            way.place_anew().with_context(|| way.name.clone())?;
            for ((_, load), times) in loads.iter().zip(&mut runs.times) {
                if load.steps == 0 || round < with_work {
                    times[number].push(time(*load, Sample::Long)?);
                }
            }
            if round < with_work {
                runs.rounds[number].push(time(loads[0].1, Sample::Round)?);
            }
        }
    }
    Ok(runs)
}

fn label(relayed: bool, work: u64, memory: u64) -> String {
    match (work, memory >> 20) {
        (0, _) if relayed => "none, each library calls the next".to_owned(),
        (0, _) => "none, one library calls all".to_owned(),
        (_, 0) => format!("{work} ns, {} KiB", memory >> 10),
        (_, mib) => format!("{work} ns, {mib} MiB"),
    }
}

fn row(label: &str, runs: &[Vec<Times>]) -> Result<Vec<String>> {
    let medians = |runs: &Vec<Times>| runs.iter().map(|times| times.median).collect::<Vec<f64>>();
    let reference = runs.first().map(medians).context("no way")?;
    let mut cells = vec![label.to_owned(), format!("{:.2}", middle(&reference))];
    for runs in &runs[1..] {
        let medians = medians(runs);
        let ratio = Ratio::paired(&medians, &reference).context("no run")?;
        cells.push(format!("{} ({:.3})", ratio.text(), least(&medians) / least(&reference)));
    }
    Ok(cells)
}

fn distribution(name: &str, runs: &[Times]) -> Vec<String> {
    let over =
        |part: fn(&Times) -> f64| format!("{:.2}", middle(&runs.iter().map(part).collect::<Vec<f64>>()));
    let huge: BTreeMap<u64, usize> = runs.iter().map(|times| (times.huge, 0)).collect();
    let huge: Vec<String> = huge.keys().map(u64::to_string).collect();
    let parts: [fn(&Times) -> f64; 4] =
        [|times| times.median, |times| times.p90, |times| times.p99, |times| times.p999];
    [name.to_owned()].into_iter().chain(parts.map(over)).chain([huge.join(" to ")]).collect()
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
