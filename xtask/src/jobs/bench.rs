//! `cargo xtask bench`: what a start costs under the loader, beside stock musl and others, all in one run and in turn.
//! Figures are printed as they are, also where the loader loses. What passes over images are worth is measured by its parts.

mod applications;
mod calls;
mod loads;
mod prefetch;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::bench::figures::{self, Verdict};
use crate::bench::measure::{self, Depth, GuestCounter, Recorded};
use crate::bench::peers::{Lab, Peer};
use crate::bench::report;
use crate::bench::results::{Measured, Results, machine};
use crate::bench::workload::{self, Workload};
use crate::jobs::corpus::Tally;
use crate::{apt, jobs, ui};

/// What passes over images are worth: the tables of `docs/passes-evaluation.md`.
#[derive(clap::Subcommand)]
enum Part {
    /// Measure calls between libraries, with each pass over an image and without
    Calls(calls::Args),
    /// Measure how calls depend on the places of what is called, and on the way there
    Places(calls::PlacesArgs),
    /// Count misses of the instruction TLB in these calls, where the processor lets us
    Itlb,
    /// Measure starts with an image, with each pass over it and without
    Loads(loads::Args),
    /// Measure starts with and without mapping at once what they touch
    Prefetch(prefetch::Args),
    /// Measure work of real applications, with each pass over an image and without
    Applications(applications::Args),
}

/// Options of the job.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds for each workload [default: as many as take five seconds, 20 to 500]
    #[arg(long)]
    rounds: Option<usize>,
    /// Who takes part; the first one is what the others are compared to [default: all but again, rustld and bare]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Count instructions as well, by callgrind
    #[arg(long)]
    instructions: bool,
    /// Instructions of a whole machine until main, which were counted in an emulator: a JSON object of workloads, each
    /// an object of peers
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// Compare the loader's instructions, system calls, faults and dirtied memory with the figures that are kept; no
    /// times
    #[arg(long, conflicts_with_all = ["update", "json", "report", "peers", "rounds"])]
    check: bool,
    /// Count them anew and keep them
    #[arg(long, conflicts_with_all = ["json", "report", "peers", "rounds"])]
    update: bool,
    /// Where the figures are kept [default: benches/figures.json]
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
    /// Write a report with charts and flame graphs to this HTML file; counts instructions and, unless workloads are
    /// named, measures how times grow
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write all results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// List the workloads and do nothing
    #[arg(long)]
    list: bool,
    /// A program linked against musl instead of the workloads; its arguments follow after `--`
    #[arg(long)]
    program: Option<PathBuf>,
    /// A variable for the program, which else gets PATH and LC_ALL only
    #[arg(long, value_name = "NAME=VALUE", requires = "program")]
    env: Vec<String>,
    /// Workloads [default: all]
    workloads: Vec<String>,
    /// Arguments of the program
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    match &args.part {
        Some(Part::Calls(args)) => return calls::run(args),
        Some(Part::Places(args)) => return calls::run_places(args),
        Some(Part::Itlb) => return calls::run_itlb(),
        Some(Part::Loads(args)) => return loads::run(args),
        Some(Part::Prefetch(args)) => return prefetch::run(args),
        Some(Part::Applications(args)) => return applications::run(args),
        None => {}
    }
    let gate = args.check || args.update;
    let workloads = chosen(args)?;
    if args.list {
        let mut table = ui::Table::new(&["workload", ""]);
        for workload in workloads {
            table.row([workload.name, format!("| {}", workload.what)]);
        }
        table.print();
        return Ok(true);
    }
    jobs::setup::everything()?;
    let loader = jobs::build::loader()?;
    let mut lab = Lab::new(&loader)?;
    if gate {
        return keep(args, &mut lab, &workloads);
    }
    let peers = if args.peers.is_empty() { &Peer::USUAL[..] } else { &args.peers };
    let guest = args.guest.as_deref().map(recorded).transpose()?;
    let depth = Depth {
        rounds: args.rounds,
        instructions: args.instructions || args.report.is_some(),
        guest: guest.as_ref().map(|recorded| recorded as &dyn GuestCounter),
    };
    if depth.instructions {
        apt::install(&["valgrind"])?;
    }
    let mut results =
        Results { machine: machine(), loader: loader.display().to_string(), workloads: Vec::new() };
    ui::remark(&results.machine);
    for workload in &workloads {
        // Of a series, only the times are shown.
        let instructions = depth.instructions && workload.series.is_none();
        let depth = Depth { instructions, ..depth };
        let mut measured = measure::workload(&mut lab, workload, peers, &depth)?;
        if args.report.is_some() && (PROFILED.contains(&workload.name.as_str()) || !args.workloads.is_empty())
        {
            measure::profile(&mut lab, workload, &mut measured)?;
        }
        print(&measured);
        results.workloads.push(measured);
    }
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &args.report {
        fs::write(file, report::html(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("\nThe report is {}", file.display());
    }
    Ok(true)
}

/// Compares a loader with the figures of the standard workloads that are kept.
pub fn check(loader: &Path) -> Result<Tally> {
    let mut lab = Lab::new(loader)?;
    let Verdict { same, better, worse } = figures::check(&mut lab, &figures::kept(), &figures::file())?;
    Ok(Tally { passed: same + better, failed: worse })
}

/// The page of what passes are worth.
const PAGE: &str = "docs/passes-evaluation.md";

/// The workloads that a report of all shows flame graphs of.
const PROFILED: [&str; 2] = ["hello", "grid-100"];

fn chosen(args: &Args) -> Result<Vec<Workload>> {
    if let Some(program) = &args.program {
        if !args.workloads.is_empty() {
            bail!("either --program or workloads; the program's arguments follow after --");
        }
        return Ok(vec![Workload::given(program, &args.args, &args.env)?]);
    }
    let mut standard = workload::standard();
    if args.workloads.is_empty() {
        if args.check || args.update {
            return Ok(figures::kept());
        }
        if args.report.is_some() {
            standard.extend(workload::scaling());
        }
        return Ok(standard);
    }
    standard.extend(workload::scaling());
    let take = |name: &String| {
        let at = standard.iter().position(|workload| workload.name == *name);
        at.map(|at| standard.remove(at)).with_context(|| format!("there is no workload {name}; see --list"))
    };
    args.workloads.iter().map(take).collect()
}

/// Checks or updates the figures.
fn keep(args: &Args, lab: &mut Lab, workloads: &[Workload]) -> Result<bool> {
    let file = args.figures.clone().unwrap_or_else(figures::file);
    if args.update {
        figures::update(lab, workloads, &file)?;
        println!("{} holds the figures of today", file.display());
        return Ok(true);
    }
    let Verdict { same, better, worse } = figures::check(lab, workloads, &file)?;
    println!("{same} as they were, {better} better, {worse} worse");
    Ok(worse == 0)
}

fn recorded(file: &Path) -> Result<Recorded> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))
}

fn print(measured: &Measured) {
    ui::heading(&format!("{}: {} ({} rounds)", measured.name, measured.what, measured.rounds));
    let mut table = ui::Table::new(&[
        "",
        "exec to main",
        "ratio",
        "of least",
        "exec to exit",
        "ratio",
        "of least",
        "calls",
        "faults",
        "dirtied",
        "tables",
        "instructions",
        "in guest",
    ]);
    for column in &measured.peers {
        if let Some(why) = &column.absent {
            ui::remark(format!("  no {}: {}", column.peer, why.lines().next().unwrap_or_default()));
            continue;
        }
        let mut row = vec![column.peer.clone()];
        for time in [&column.main, &column.exit] {
            match time {
                Some(time) => {
                    row.extend([time.time.text(), time.ratio.text(), format!("{:.3}", time.least)]);
                }
                None => row.extend(["-"; 3].map(str::to_owned)),
            }
        }
        let main = column.counts.and_then(|counts| counts.main);
        let memory = column.counts.and_then(|counts| counts.memory);
        let instructions = column.instructions.and_then(|counted| counted.main);
        let cell =
            |value: Option<u64>, unit: &str| value.map_or("-".to_owned(), |value| format!("{value}{unit}"));
        row.push(cell(main.map(|main| main.system_calls), ""));
        row.push(cell(main.map(|main| main.page_faults), ""));
        row.push(cell(memory.map(|memory| memory.dirtied), " KiB"));
        row.push(cell(memory.map(|memory| memory.page_tables), " KiB"));
        row.push(cell(instructions, ""));
        row.push(cell(column.guest_instructions, ""));
        table.row(row);
    }
    table.print();
    ui::remark("  ratios to the first row; calls, faults, memory and instructions: until main");
    if let Some(column) = measured.peers.iter().find(|column| !column.phases.is_empty()) {
        let phases = column.phases.iter().map(|(phase, us)| format!("{phase} {}", ui::micros(*us)));
        ui::remark(format!("  phases of {}: {}", column.peer, phases.collect::<Vec<_>>().join(", ")));
    }
}
