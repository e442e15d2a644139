//! `cargo xtask bench applications`: how long real applications take for their work, with each pass over an image and without.

use std::fs;

use anyhow::{Context, Result, bail};

use super::PAGE;
use crate::applications::{self, Application, Loading, Place};
use crate::bench::results::{Time, machine};
use crate::calls::way::choices;
use crate::corpus::manifest::Manifest;
use crate::corpus::packages;
use crate::vm::evaluate::{Table, into_page, today};
use crate::{apt, jobs, paths, ui};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Write the table into docs/passes-evaluation.md
    #[arg(long, conflicts_with = "names")]
    write: bool,
    /// How often each application does its work in each way
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Applications [default: all]
    names: Vec<String>,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    let all = applications::all()?;
    if let Some(unknown) = args.names.iter().find(|name| all.iter().all(|one| one.name != **name)) {
        let known: Vec<_> = all.iter().map(|one| &*one.name).collect();
        bail!("there is no application {unknown:?}; there are: {}", known.join("; "));
    }
    let chosen: Vec<Application> =
        all.into_iter().filter(|one| args.names.is_empty() || args.names.contains(&one.name)).collect();
    jobs::setup::everything()?;
    let clients: Vec<&str> = chosen.iter().flat_map(|one| one.debian.iter().map(String::as_str)).collect();
    apt::install(&clients)?;
    packages::provide(
        &Manifest::read()?,
        chosen.iter().flat_map(|one| one.needs.iter().map(String::as_str)),
    )?;
    let dir = crate::corpus::dir()?.join(format!(".applications-{}", std::process::id()));
    let (loader, tool) = (jobs::build::loader()?, jobs::build::tool()?);
    let place = Place { loader: &loader, tool: &tool, dir: &dir };
    let table = measure(&chosen, usize::from(args.rounds), &place);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let text = format!("{}, {}.\n\n{}", machine(), today()?, table?.markdown());
    println!("\n{text}");
    if args.write {
        into_page(&paths::repo().join(PAGE), "applications", &text)?;
    }
    Ok(true)
}

/// All ways in turn, so that what disturbs the machine disturbs all of them.
fn measure(applications: &[Application], rounds: usize, place: &Place<'_>) -> Result<Table> {
    let mut ways = vec![("stock musl", Loading::Stock), ("ours", Loading::Ours)];
    ways.extend(choices().into_iter().map(|(name, passes)| (name, Loading::Image(passes))));
    let note = "Time for the same work: median with stock musl; for the others the ratio to that with its 95 % interval, and in brackets \
                that of the least times. Less is better.";
    let head = ["application"].into_iter().chain(ways.iter().map(|(name, _)| *name)).chain(["work"]);
    let mut table = Table::new("Applications", note, head);
    for application in applications {
        let mut times: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
        // The first round builds images and warms up.
        for round in 0..=rounds {
            for ((name, loading), times) in ways.iter().zip(&mut times) {
                let time = application.run(loading, place);
                let time = time.with_context(|| format!("{}, {name}", application.name))?;
                times.extend((round > 0).then_some(time));
            }
        }
        let cells = times.iter().enumerate().map(|(way, of)| {
            let time = Time::of(of, &times[0]).context("no run")?;
            Ok(if way == 0 { time.time.text() } else { format!("{} ({:.3})", time.ratio.text(), time.least) })
        });
        let (name, what) = ([Ok(application.name.clone())], [Ok(application.what.clone())]);
        let row = name.into_iter().chain(cells).chain(what).collect::<Result<Vec<String>>>()?;
        ui::remark(row.join(" | "));
        table.rows.push(row);
    }
    Ok(table)
}
