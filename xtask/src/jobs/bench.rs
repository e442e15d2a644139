//! `cargo xtask bench`: how long a start takes under the loader and under stock musl, both in one run and in turn.
//! Figures are printed as they are, also where the loader loses.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bench::harness::{self, Target, Times};
use crate::bench::stats::Summary;
use crate::bench::synthetic::Program;
use crate::{jobs, paths, ui};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON only
    #[arg(long)]
    json: bool,
    /// Rounds for each program [default: 1000 for hello, 300 for grid-10, 60 for grid-100]
    #[arg(long)]
    rounds: Option<usize>,
    /// The musl loader to compare with
    #[arg(long, default_value = paths::STOCK)]
    stock: PathBuf,
    /// Compare the loader with itself as a third party: shows what difference is noise
    #[arg(long)]
    noise: bool,
    /// Programs [default: all]
    programs: Vec<Program>,
}

#[derive(Serialize)]
struct Report {
    loader: String,
    stock: String,
    programs: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    program: &'static str,
    rounds: usize,
    stock: Figures,
    loader: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    loader_again: Option<Figures>,
    ratio_exit: f64,
    ratio_main: f64,
}

#[derive(Serialize)]
struct Figures {
    to_exit: Summary,
    to_main: Summary,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    jobs::setup::everything()?;
    let loader = jobs::build::loader()?;
    let programs = if args.programs.is_empty() { &Program::ALL } else { args.programs.as_slice() };
    let mut report = Report {
        loader: loader.display().to_string(),
        stock: args.stock.display().to_string(),
        programs: Vec::new(),
    };
    for &program in programs {
        report.programs.push(measure(program, &loader, args)?);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(true)
}

fn measure(program: Program, loader: &Path, args: &Args) -> Result<Line> {
    let rounds = args.rounds.unwrap_or(match program {
        Program::Hello => 1000,
        Program::Grid10 => 300,
        Program::Grid100 => 60,
    });
    let mut linked = program.build(&[&args.stock, loader])?;
    if args.noise {
        linked.extend(linked.last().cloned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let environment: [(&str, &OsStr); 2] = [("PATH", &path), ("LC_ALL", OsStr::new("C"))];
    let targets = linked.iter().map(|path| Target::new(&[path], &environment)).collect::<Result<Vec<_>>>()?;
    let spinner = ui::spinner(format!("measuring {}", program.name()));
    let times = harness::run(&targets, rounds, None);
    spinner.finish_and_clear();
    let mut figures = times?.iter().map(figures).collect::<Result<Vec<_>>>()?.into_iter();
    let (Some(stock), Some(loader)) = (figures.next(), figures.next()) else {
        anyhow::bail!("two programs were measured, but there are not two results");
    };
    Ok(Line {
        program: program.name(),
        rounds,
        ratio_exit: loader.to_exit.median_us / stock.to_exit.median_us,
        ratio_main: loader.to_main.median_us / stock.to_main.median_us,
        stock,
        loader,
        loader_again: figures.next(),
    })
}

fn figures(times: &Times) -> Result<Figures> {
    let to_exit = times.exit().context("no round was measured")?;
    let to_main = times.mark().context("the program sent no mark")?;
    Ok(Figures { to_exit, to_main })
}

fn print(report: &Report) {
    ui::heading("Start of synthetic programs: exec to main, and exec to exit");
    ui::remark(format!("stock {} | loader {}", report.stock, report.loader));
    ui::remark(
        "medians of interleaved rounds, ± half the distance of the quartiles; ratio: loader / stock, less is better",
    );
    let mut table = ui::Table::new(&[
        "program",
        "rounds",
        "main: stock",
        "loader",
        "ratio",
        "exit: stock",
        "loader",
        "ratio",
    ]);
    for line in &report.programs {
        table.row([
            line.program.to_owned(),
            line.rounds.to_string(),
            line.stock.to_main.text(),
            line.loader.to_main.text(),
            format!("{:.3}", line.ratio_main),
            line.stock.to_exit.text(),
            line.loader.to_exit.text(),
            format!("{:.3}", line.ratio_exit),
        ]);
        if let Some(again) = &line.loader_again {
            let ratio = |a: &Summary, b: &Summary| format!("{:.3}", a.median_us / b.median_us);
            table.row([
                "  loader again / loader".to_owned(),
                String::new(),
                String::new(),
                again.to_main.text(),
                ratio(&again.to_main, &line.loader.to_main),
                String::new(),
                again.to_exit.text(),
                ratio(&again.to_exit, &line.loader.to_exit),
            ]);
        }
    }
    table.print();
}
