//! `cargo xtask bench loads`: how long a start takes with an image, with each pass over it and without.

use anyhow::{Context, Result};

use super::PAGE;
use crate::bench::harness::{self, Target};
use crate::bench::peers::{Lab, Peer};
use crate::bench::results::{Time, machine};
use crate::bench::workload;
use crate::calls::way::choices;
use crate::vm::evaluate::{Table, into_page, today};
use crate::{jobs, paths, ui};

/// What is started.
const WORKLOADS: [&str; 8] =
    ["hello", "grid-10", "grid-100", "calls-100", "vtables", "clang-format", "node", "preload-all"];

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Write the table into docs/passes-evaluation.md
    #[arg(long)]
    write: bool,
    /// How often each program is started in each way
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    jobs::setup::everything()?;
    let mut lab = Lab::new(&jobs::build::loader()?)?;
    let choices = choices();
    let head = ["program", "stock musl"].into_iter().chain(choices.iter().map(|(name, _)| *name));
    let note = "From exec to main: median with stock musl and with an image without passes; for the other images the ratio to the \
                latter with its 95 % interval, and in brackets that of the least times.";
    let mut table = Table::new("Starts", note, head);
    for name in WORKLOADS {
        let workload = workload::standard().into_iter().find(|workload| workload.name == name);
        let workload = workload.with_context(|| format!("there is no workload {name}"))?;
        let mut starts = vec![Peer::Stock.start(&mut lab, &workload)?];
        for (_, passes) in &choices {
            let start = Peer::Ours.start(&mut lab, &workload)?;
            starts.push(lab.with_image(start, Some(passes))?);
        }
        let mut targets = starts.iter().map(Target::of).collect::<Result<Vec<_>>>()?;
        let input = starts[0].input.as_deref();
        targets.iter_mut().try_for_each(|target| target.try_out(input).map(|_| ()))?;
        let spinner = ui::spinner(format!("measuring {name}"));
        let times = harness::run(&targets, usize::from(args.rounds), input);
        spinner.finish_and_clear();
        let times = times.with_context(|| name)?;
        let plain = &times[1].marks;
        let cells = times.iter().enumerate().map(|(way, times)| {
            let time = Time::of(&times.marks, plain).with_context(|| format!("{name} sets no mark"))?;
            Ok(if way < 2 { time.time.text() } else { format!("{} ({:.3})", time.ratio.text(), time.least) })
        });
        let row = [Ok(name.to_owned())].into_iter().chain(cells).collect::<Result<Vec<String>>>()?;
        println!("{}", row.join(" | "));
        table.rows.push(row);
    }
    let text = format!("{}, {}.\n\n{}", machine(), today()?, table.markdown());
    println!("\n{text}");
    if args.write {
        into_page(&paths::repo().join(PAGE), "starts", &text)?;
    }
    Ok(true)
}
