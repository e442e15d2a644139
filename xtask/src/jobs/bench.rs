//! `cargo xtask bench`: what a start costs under the loader, beside stock musl and others, all in one run and in turn.
//! Figures are printed as they are, also where the loader loses.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench::measure;
use crate::bench::peers::{Lab, Peer};
use crate::bench::results::{Measured, Results, machine};
use crate::bench::workload::{self, Workload};
use crate::{jobs, ui};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Rounds for each workload [default: as many as take five seconds, 20 to 500]
    #[arg(long)]
    rounds: Option<usize>,
    /// Who takes part; the first one is what the others are compared to [default: all but again and rustld]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Write all results to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// List the workloads and do nothing
    #[arg(long)]
    list: bool,
    /// A program linked against musl instead of the workloads; its arguments follow after `--`
    #[arg(long)]
    program: Option<PathBuf>,
    /// Workloads [default: all]
    workloads: Vec<String>,
    /// Arguments of the program
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
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
    let peers = if args.peers.is_empty() { &Peer::USUAL[..] } else { &args.peers };
    let mut lab = Lab::new(&loader)?;
    let mut results =
        Results { machine: machine(), loader: loader.display().to_string(), workloads: Vec::new() };
    ui::remark(&results.machine);
    for workload in &workloads {
        let field = measure::field(&mut lab, workload, peers)?;
        let measured = measure::times(workload, field, args.rounds)?;
        print(&measured);
        results.workloads.push(measured);
    }
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(true)
}

fn chosen(args: &Args) -> Result<Vec<Workload>> {
    if let Some(program) = &args.program {
        if !args.workloads.is_empty() {
            bail!("either --program or workloads; the program's arguments follow after --");
        }
        return Ok(vec![Workload::given(program, &args.args)?]);
    }
    let mut standard = workload::standard();
    if args.workloads.is_empty() {
        return Ok(standard);
    }
    let take = |name: &String| {
        let at = standard.iter().position(|workload| workload.name == *name);
        at.map(|at| standard.remove(at)).with_context(|| format!("there is no workload {name}; see --list"))
    };
    args.workloads.iter().map(take).collect()
}

fn print(measured: &Measured) {
    ui::heading(&format!("{}: {} ({} rounds)", measured.name, measured.what, measured.rounds));
    let mut table = ui::Table::new(&["", "exec to main", "ratio", "exec to exit", "ratio"]);
    for column in &measured.peers {
        if let Some(why) = &column.absent {
            ui::remark(format!("  no {}: {}", column.peer, why.lines().next().unwrap_or_default()));
            continue;
        }
        let mut row = vec![column.peer.clone()];
        for time in [&column.main, &column.exit] {
            match time {
                Some(time) => row.extend([time.time.text(), time.ratio.text()]),
                None => row.extend(["-".to_owned(), "-".to_owned()]),
            }
        }
        table.row(row);
    }
    table.print();
}
