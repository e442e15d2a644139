//! `cargo xtask ways`: the tables of `docs/seven-ways.md`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench::harness::{self, Target};
use crate::bench::peers::Lab;
use crate::bench::results::{Time, machine};
use crate::bench::workload::{self, Start};
use crate::vm::evaluate::{Table, into_page, today};
use crate::ways::page_in::{Cost, Effect, Laboratory, SHARES};
use crate::ways::relocated::Relocated;
use crate::ways::running::{self, Crowd};
use crate::ways::{Way, image_of};
use crate::{jobs, paths, ui};

/// Where the tables go.
const PAGE: &str = "docs/seven-ways.md";

/// The program that is measured.
const WORKLOAD: &str = "grid-100";

/// For costs that do not depend on how much there is to do, the same pages are taken so many times.
const REPEATED: usize = 20;

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Write the tables into docs/seven-ways.md
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Only one part
    #[arg(long)]
    only: Option<Part>,
    /// Processes that run at the same time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=200))]
    processes: u16,
    /// How often each start and each trial is repeated
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// From exec to main
    Starts,
    /// What running processes hold
    Memory,
    /// The experiment with relocation at page-in
    PageIn,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("only root may have all of userfaultfd, and see other processes' pages");
    }
    jobs::setup::everything()?;
    let mut lab = Lab::new(&jobs::build::loader()?)?;
    let mut starts = Vec::new();
    let workload = workload::standard().into_iter().find(|workload| workload.name == WORKLOAD);
    let workload = workload.with_context(|| format!("there is no workload {WORKLOAD}"))?;
    for way in Way::ALL {
        starts.push((way, way.start(&mut lab, &workload)?));
    }
    let mut text = format!("{}, {}.\n", machine(), today()?);
    let mut show = |table: Table| {
        println!("\n{}", table.markdown());
        text += &format!("\n{}", table.markdown());
    };
    let wanted = |part| args.only.is_none_or(|only| only == part);
    if wanted(Part::Starts) {
        show(times(&starts, usize::from(args.rounds))?);
    }
    if wanted(Part::Memory) {
        memory(&starts, usize::from(args.processes))?.into_iter().for_each(&mut show);
    }
    if wanted(Part::PageIn) {
        let image = starts.iter().find(|(way, _)| *way == Way::Image).context("no image")?;
        page_in(&image_of(&image.1)?, u32::from(args.rounds))?.into_iter().for_each(&mut show);
    }
    if args.write {
        into_page(&paths::repo().join(PAGE), "measured", &text)?;
        ui::step("Wrote", PAGE);
    }
    Ok(true)
}

/// From exec to main.
fn times(starts: &[(Way, Start)], rounds: usize) -> Result<Table> {
    let mut targets = Vec::new();
    for (_, start) in starts {
        let mut target = Target::of(start)?;
        target.try_out(None)?;
        targets.push(target);
    }
    let spinner = ui::spinner("measuring starts".to_owned());
    let times = harness::run(&targets, rounds, None);
    spinner.finish_and_clear();
    let times = times?;
    let first = times.first().context("nothing was measured")?;
    let mut table = Table::new(
        format!("Starts of {WORKLOAD}"),
        "Medians of interleaved rounds, with half the distance of their quartiles; ratios with their 95 % interval.",
        ["", "exec to main", "ratio", "exec to exit", "ratio"],
    );
    for ((way, _), times) in starts.iter().zip(&times) {
        let main = Time::of(&times.marks, &first.marks).context("it sets no mark")?;
        let exit = Time::of(&times.exits, &first.exits).context("it does not end")?;
        let mut row = vec![way.name().to_owned()];
        row.extend([main, exit].iter().flat_map(|time| [time.time.text(), time.ratio.text()]));
        table.rows.push(row);
    }
    Ok(table)
}

/// What many running processes hold, and what of one of them is its own.
fn memory(starts: &[(Way, Start)], processes: usize) -> Result<Vec<Table>> {
    let mut crowds = Vec::new();
    for (way, start) in starts {
        let spinner = ui::spinner(format!("running {processes} processes: {}", way.name()));
        let crowd = running::crowd(start, processes);
        spinner.finish_and_clear();
        crowds.push((*way, crowd.with_context(|| way.name())?));
    }
    let first = crowds.first().context("nothing was measured")?.1.at_main;
    let mut sums = Table::new(
        format!("Memory of {processes} running processes of {WORKLOAD}"),
        "KiB for each process, from smaps_rollup and status: held in `main`; and at the exit, when each library has \
         used all that it has bound and run its destructors. *ratio*: of private dirty memory in `main`, to the first row.",
        ["", "private dirty", "ratio", "shared", "Pss", "page tables", "at exit: private dirty", "Pss"],
    );
    let kib = |sum: u64| format!("{:.0}", sum as f64 / processes as f64);
    for (way, Crowd { at_main, at_exit, .. }) in &crowds {
        sums.rows.push(vec![
            way.name().to_owned(),
            kib(at_main.private_dirty),
            format!("{:.3}", at_main.private_dirty as f64 / first.private_dirty as f64),
            kib(at_main.shared + at_main.private_clean),
            kib(at_main.proportional),
            kib(at_main.page_tables),
            kib(at_exit.private_dirty),
            kib(at_exit.proportional),
        ]);
    }
    let mut owners: Vec<_> = crowds.iter().flat_map(|(_, crowd)| crowd.own.keys()).collect();
    owners.sort();
    owners.dedup();
    let names: Vec<_> = std::iter::once("").chain(crowds.iter().map(|(way, _)| way.name())).collect();
    let mut own = Table::new(
        "What is a process's own",
        "KiB of one of them in `main`, page by page from pagemap, by what the pages belong to.",
        names,
    );
    for owner in owners {
        let cell = |crowd: &Crowd| crowd.own.get(owner).map(ToString::to_string).unwrap_or_default();
        let cells = crowds.iter().map(|(_, crowd)| cell(crowd));
        own.rows.push(std::iter::once(owner.clone()).chain(cells).collect());
    }
    Ok(vec![sums, own])
}

/// Relocation at page-in, of the pages of an image.
fn page_in(image: &std::path::Path, rounds: u32) -> Result<Vec<Table>> {
    let relocated = Relocated::of(image)?;
    let dir = Folder::new()?;
    let laboratory = Laboratory::new(&dir.0)?;
    let mut tables = Vec::new();
    for times in [1, REPEATED] {
        let relocated = relocated.repeated(times);
        let spinner = ui::spinner(format!("relocating {} pages", relocated.count()));
        let costs = laboratory.costs(&relocated, if times == 1 { rounds } else { (rounds / 4).max(3) });
        spinner.finish_and_clear();
        let of = match times {
            1 => WORKLOAD.to_owned(),
            _ => format!("{WORKLOAD}, {times} times"),
        };
        let title = format!(
            "Relocation at page-in: {} pages, {} words ({of})",
            relocated.count(),
            relocated.words.len()
        );
        tables.push(cost_table(title, &costs?)?);
    }
    let spinner = ui::spinner("trying what is done to pages".to_owned());
    let effects = laboratory.effects(&relocated);
    spinner.finish_and_clear();
    tables.extend(effect_tables(&effects?));
    Ok(tables)
}

fn cost_table(title: String, costs: &[Cost]) -> Result<Table> {
    let mut table = Table::new(
        title,
        "Time to map the region, and to map it and touch so much of it for the first time; KiB of it that are then the process's own, \
         or shared. *later*: a process that finds what the first one has made.",
        ["", "to map", "and touch 1 %", "own", "10 %", "own", "100 %", "own", "shared"],
    );
    for first in costs.iter().filter(|cost| cost.share == SHARES[0]) {
        let of = |share| costs.iter().find(|cost| cost.way == first.way && cost.share == share);
        let (way, process) = &first.way;
        let name = if process == "later" { format!("{way}, later") } else { way.clone() };
        let mut row = vec![name, ui::micros(first.set_up.median_us)];
        for share in SHARES {
            let cost = of(share).with_context(|| format!("{way} was not measured with {share} ‰"))?;
            row.extend([ui::micros(cost.total.median_us), cost.own.to_string()]);
            if share == SHARES[2] {
                row.push(cost.shared.to_string());
            }
        }
        table.rows.push(row);
    }
    Ok(table)
}

fn effect_tables(effects: &[Effect]) -> Vec<Table> {
    fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
        let mut all: Vec<&str> = Vec::new();
        for name in names {
            if !all.contains(&name.as_str()) {
                all.push(name);
            }
        }
        all
    }
    let result = |way: &str, rights: &str, deed: &str| {
        let found = effects
            .iter()
            .find(|effect| (&*effect.way, &*effect.rights, &*effect.deed) == (way, rights, deed));
        found.map(|effect| effect.result.clone()).unwrap_or_default()
    };
    let (kernel, tried): (Vec<_>, Vec<_>) = effects.iter().partition(|effect| effect.way == "kernel");
    let mut allowed = Table::new("What the kernel allows", "As root, and as nobody.", ["", "root", "user"]);
    for deed in distinct(kernel.iter().map(|effect| &effect.deed)) {
        let cells = ["root", "user"].map(|rights| result("kernel", rights, deed));
        allowed.rows.push([vec![format!("`{deed}`")], cells.to_vec()].concat());
    }
    let ways = distinct(tried.iter().map(|effect| &effect.way));
    let mut tables = vec![allowed];
    for (rights, title, note) in [
        (
            "root",
            "What a page does that nobody has touched: as root",
            "*right*: as if it had been relocated at the start.",
        ),
        ("user", "As nobody, with UFFD_USER_MODE_ONLY", "Likewise."),
    ] {
        let mut table = Table::new(title, note, [&[""], &*ways].concat());
        for deed in distinct(tried.iter().map(|effect| &effect.deed)) {
            let cells = ways.iter().map(|way| result(way, rights, deed));
            table.rows.push(std::iter::once(deed.to_owned()).chain(cells).collect());
        }
        tables.push(table);
    }
    tables
}

/// A folder that is removed at the end; everybody can look into it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("ld-morsel-ways-{}", std::process::id()));
        // Of a process that had our number and was killed.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing better can be done about what cannot be removed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
