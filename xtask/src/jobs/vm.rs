//! `cargo xtask vm`: the kernel laboratory. Runs a command, the module's tests, or programs under the loader in a
//! guest, and counts instructions.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::vm::guest::{Guest, quote};
use crate::vm::icount::Counts;
use crate::vm::kernel::{Flavour, Kernel};
use crate::vm::module::Build;
use crate::vm::programs::{self, Plan};
use crate::vm::{evaluate, loader, selftest};
use crate::{jobs, paths, ui};

/// Options of the job.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_value_name = "JOB",
    subcommand_help_heading = "Jobs"
)]
pub struct Args {
    #[command(subcommand)]
    job: Option<Job>,
    #[command(flatten)]
    guest: GuestArgs,
}

#[derive(Subcommand)]
enum Job {
    /// Build the kernel module and run its tests
    Test {
        /// The kernel
        #[arg(long, default_value = "6.1")]
        kernel: Flavour,
        /// Only tests whose name contains this text
        #[arg(long)]
        filter: Option<String>,
    },
    /// Run cases of the differential suite and real programs under the loader
    Loader(LoaderArgs),
    /// Count the instructions of starts, beside stock musl
    Icount(IcountArgs),
    /// Measure what morsels save and cost: the tables of docs/morsels.md
    Evaluate(EvaluateArgs),
    /// Build the debug kernel
    DebugKernel,
}

/// A command in a guest.
#[derive(clap::Args)]
struct GuestArgs {
    /// The kernel
    #[arg(long, default_value = "6.1")]
    kernel: Flavour,
    /// A folder to put on the guest's disk, which is mounted at /disk
    #[arg(long)]
    disk: Option<PathBuf>,
    /// Load the kernel module, freshly built
    #[arg(long)]
    module: bool,
    /// One processor, whose clock counts instructions
    #[arg(long)]
    icount: bool,
    /// Words to add to the kernel's command line
    #[arg(long, default_value = "")]
    append: String,
    /// Time limit in seconds
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// A command and its arguments, or a script for busybox's shell
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(clap::Args)]
struct LoaderArgs {
    /// The kernel
    #[arg(long, default_value = "6.1")]
    kernel: Flavour,
    /// Load the kernel module, and map files by it (LD_MORSEL_MAP=morsel)
    #[arg(long)]
    module: bool,
    /// Only cases whose name contains this text
    #[arg(long)]
    filter: Option<String>,
}

#[derive(clap::Args)]
struct IcountArgs {
    /// The kernel
    #[arg(long, default_value = "6.1")]
    kernel: Flavour,
    /// A musl program [default: the synthetic ones]
    #[arg(long)]
    program: Vec<PathBuf>,
    /// A generated workload of the benchmark
    #[arg(long)]
    synthetic: Vec<String>,
    /// A loader [default: stock musl and a fresh build of ld-morsel]
    #[arg(long)]
    loader: Vec<PathBuf>,
    /// A variable for all programs, NAME=value
    #[arg(long)]
    env: Vec<String>,
    /// Load the kernel module, freshly built
    #[arg(long)]
    module: bool,
    /// Count starts with an image, too, which is built in the guest
    #[arg(long)]
    image: bool,
    /// Rounds for each program [default: 300 for hello, 60 for others, 15 for grid-100]
    #[arg(long)]
    rounds: Option<usize>,
    /// Print JSON only
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct EvaluateArgs {
    /// Only the most important figures, in some minutes
    #[arg(long)]
    quick: bool,
    /// Write the tables into the page
    #[arg(long)]
    write: bool,
    /// Only one part: regions, programs, large text, sizes or node
    #[arg(long)]
    only: Option<String>,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    jobs::setup::everything()?;
    match &args.job {
        None => command(&args.guest),
        Some(Job::Test { kernel, filter }) => {
            let tally = selftest::run(*kernel, filter.as_deref(), true)?;
            println!("{tally}");
            Ok(tally.failed == 0)
        }
        Some(Job::Loader(args)) => {
            let tally =
                loader::run(args.kernel, &jobs::build::loader()?, args.module, args.filter.as_deref())?;
            println!("{tally}");
            Ok(tally.failed == 0)
        }
        Some(Job::Icount(args)) => icount(args),
        Some(Job::Evaluate(args)) => {
            let loader = jobs::build::loader()?;
            let EvaluateArgs { quick, write, only } = args;
            let only = only.as_deref();
            evaluate::run(&evaluate::Options { loader: &loader, quick: *quick, write: *write, only })?;
            Ok(true)
        }
        Some(Job::DebugKernel) => {
            println!("{}", Kernel::provide(Flavour::Debug)?.image.display());
            Ok(true)
        }
    }
}

fn command(args: &GuestArgs) -> Result<bool> {
    let kernel = Kernel::provide(args.kernel)?;
    // One word is a script; several are a command and its arguments.
    let mut script = match &args.command[..] {
        [script] => script.clone(),
        words => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
    };
    let module = module(args.module, &kernel)?;
    if module.is_some() {
        script = format!("insmod /morsel.ko && {script}");
    }
    let mut guest = Guest::new("command", &kernel, &script);
    if let Some(module) = module {
        guest.files.copy("morsel.ko", &module)?;
    }
    if let Some(disk) = &args.disk {
        if !disk.is_dir() {
            bail!("{} is not a folder", disk.display());
        }
        guest.disk = Some(disk);
    }
    guest.icount = args.icount;
    guest.parameters = &args.append;
    guest.limit = Duration::from_secs(args.limit);
    guest.echo = true;
    let ended = guest.run()?;
    if ended.status != 0 {
        ui::note(format!("The command ended with status {}.", ended.status));
    }
    Ok(ended.status == 0)
}

/// Builds the module if it is wanted; None also where it is built in.
fn module(wanted: bool, kernel: &Kernel) -> Result<Option<PathBuf>> {
    let build = wanted.then(|| Build::module(kernel)).transpose()?;
    Ok(build.and_then(|build| build.file()))
}

fn icount(args: &IcountArgs) -> Result<bool> {
    let kernel = Kernel::provide(args.kernel)?;
    let loaders = match args.loader.is_empty() {
        true => vec![PathBuf::from(paths::STOCK), jobs::build::loader()?],
        false => args.loader.iter().map(std::path::absolute).collect::<std::io::Result<_>>()?,
    };
    let synthetic = match args.synthetic.is_empty() && args.program.is_empty() {
        true => ["hello", "grid-10", "grid-100"].map(str::to_owned).to_vec(),
        false => args.synthetic.clone(),
    };
    let module = module(args.module, &kernel)?;
    let tool = args.image.then(jobs::build::tool).transpose()?;
    let plan = Plan {
        programs: &args.program,
        synthetic: &synthetic,
        loaders: &loaders,
        environment: &args.env,
        tool: tool.as_deref(),
        rounds: args.rounds,
    };
    let counts = programs::count(&kernel, module.as_deref(), &plan)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&counts)?);
    } else {
        let programs = args.program.len() + synthetic.len();
        print(&counts, counts.len() / programs);
    }
    Ok(true)
}

/// Prints the counts, beside the first of the ways to start each program.
fn print(counts: &[Counts], ways: usize) {
    ui::heading("Instructions from the start, the kernel's included");
    ui::remark("k = 1000 instructions; ratio: to the first loader");
    let mut table =
        ui::Table::new(&["program", "rounds", "main: median", "ratio", "exit: min", "median", "ratio"]);
    for group in counts.chunks(ways) {
        for line in group {
            let main = |of: &Counts| of.to_main.map(|count| count.median);
            let kilo = |count: u64| format!("{:.1}k", count as f64 / 1e3);
            let ratio = |count: Option<u64>, of: Option<u64>| match (count, of) {
                (Some(count), Some(of)) => format!("{:.4}", count as f64 / of as f64),
                _ => String::new(),
            };
            table.row([
                line.name.clone(),
                line.rounds.to_string(),
                main(line).map(kilo).unwrap_or_default(),
                ratio(main(line), main(&group[0])),
                kilo(line.to_exit.min),
                kilo(line.to_exit.median),
                ratio(Some(line.to_exit.median), Some(group[0].to_exit.median)),
            ]);
        }
    }
    table.print();
}
