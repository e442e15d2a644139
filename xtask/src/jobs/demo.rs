//! `cargo xtask demo`: the way in. Sets up what is missing, builds the loader, gets a real program, runs it under the
//! loader in both ways and with an image, and shows what that did beside stock musl: output and exit code, times, system
//! calls, and the loader's own statistics.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use console::style;

mod stats;

use crate::bench::harness::{self, Target};
use crate::corpus::manifest::Manifest;
use crate::corpus::{cases, packages};
use crate::proc::Outcome;
use crate::{corpus, jobs, paths, proc, ui};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Rounds for the times
    #[arg(long, default_value_t = 100)]
    rounds: usize,
}

/// A program to show.
struct Subject {
    what: &'static str,
    package: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    input: &'static str,
}

/// In order of preference: the first is fetched in a second, the second is built from Debian's sources.
const SUBJECTS: [Subject; 2] = [
    Subject {
        what: "clang-format 17, a C++ program with its own libstdc++",
        package: "clang-format",
        program: "clang-format/clang_format/data/bin/clang-format",
        args: &["--style=LLVM"],
        input: "int  main( int argc,char**argv ){if(argc>1){return   argc;}\nfor(;;)  puts ( \"formatted\" ) ;}\n",
    },
    Subject {
        what: "the shell of SQLite, with readline and ncurses",
        package: "sqlite3",
        program: "root/bin/sqlite3",
        args: &[":memory:"],
        input: "create table t(a); insert into t values(1),(2); select 'sum', sum(a) from t;\n",
    },
];

/// One way to run the program.
struct Way {
    name: &'static str,
    command: Vec<PathBuf>,
    /// What `LD_MORSEL_IMAGE` says; nothing for stock musl.
    image: Option<OsString>,
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    jobs::setup::for_demo()?;
    ui::step("Building", "the loader (cargo xtask build)");
    let loader = jobs::build::loader()?;
    let subject = obtain()?;
    let dir = paths::cache()?.join("demo");
    fs::create_dir_all(&dir)?;
    let input = dir.join("input");
    fs::write(&input, subject.input)?;
    let ways = ways(subject, &loader, &dir)?;

    ui::heading(&format!("A real program: {}", subject.what));
    let Some(()) = compare(&ways, &input)? else { return Ok(false) };
    let mut table = ui::Table::new(&["", "stock musl", "PT_INTERP", "direct", "image"]);
    times(&ways, &input, args.rounds, &mut table)?;
    system_calls(&ways, &input, &dir, &mut table)?;
    ui::heading(&format!("Beside stock musl ({} interleaved rounds, medians)", args.rounds));
    table.print();
    statistics(&ways, &input, &dir)?;
    println!("\nNext: `cargo xtask test`; and your own: {} PROGRAM", loader.display());
    Ok(true)
}

fn obtain() -> Result<&'static Subject> {
    let manifest = Manifest::read()?;
    let [first, second] = &SUBJECTS;
    let Err(error) = packages::provide(&manifest, [first.package]) else { return Ok(first) };
    ui::note(format!("{error:#}\nBuilding {} instead.", second.package));
    jobs::setup::everything()?;
    packages::provide(&manifest, [second.package])?;
    Ok(second)
}

fn ways(subject: &Subject, loader: &Path, dir: &Path) -> Result<[Way; 4]> {
    let program = corpus::dir()?.join(subject.program);
    let patched = cases::patched(&program, loader)?;
    let words = |mut command: Vec<PathBuf>| {
        command.extend(subject.args.iter().map(PathBuf::from));
        command
    };
    let images = dir.join("images");
    fs::create_dir_all(&images)?;
    ui::step("Building", "its image (morselctl build)");
    let mut build = proc::command(jobs::build::tool()?);
    let summary = proc::output(build.arg("build").arg(&patched).arg("--into").arg(&images))?;
    summary.lines().for_each(ui::remark);
    let mut image = OsString::from("require:");
    image.push(images.join(""));
    let off = || Some("off".into());
    Ok([
        Way { name: "stock musl", command: words(vec![program.clone()]), image: None },
        Way { name: "PT_INTERP", command: words(vec![patched.clone()]), image: off() },
        Way { name: "direct", command: words(vec![loader.to_owned(), program]), image: off() },
        Way { name: "image", command: words(vec![patched]), image: Some(image) },
    ])
}

impl Way {
    /// The command, with `input` as its standard input once it is run by a shell: `proc` gives programs none.
    fn shell(&self, before: &[&OsStr], input: &Path) -> Command {
        let mut sh = proc::command("sh");
        sh.args(["-c", "i=$1; shift; exec \"$@\" < \"$i\"", "sh"])
            .arg(input)
            .args(before)
            .args(&self.command)
            .envs(self.image.iter().map(|image| ("LD_MORSEL_IMAGE", image)));
        sh
    }
}

/// Runs it in all ways and shows what came out. None if the results differ.
fn compare(ways: &[Way; 4], input: &Path) -> Result<Option<()>> {
    let limit = Duration::from_secs(60);
    let outcomes: Vec<Outcome> =
        ways.iter().map(|way| proc::outcome(&mut way.shell(&[], input), limit)).collect::<Result<_>>()?;
    let stock = &outcomes[0];
    let mut same = true;
    for (way, outcome) in ways.iter().zip(&outcomes) {
        let words: Vec<_> = way.command.iter().map(|word| word.display().to_string()).collect();
        println!("\n  {} {}", style(format!("{}:", way.name)).bold(), style(words.join(" ")).dim());
        let ok = outcome.end == stock.end && outcome.stdout == stock.stdout;
        let ours = way.image.is_some();
        let compared = match (ours, ok) {
            (false, _) => String::new(),
            (true, true) => {
                format!(", output the same ({} bytes): {}", outcome.stdout.len(), ui::verdict(true))
            }
            (true, false) => format!(", not what stock musl did: {}", ui::verdict(false)),
        };
        println!("    {}{compared}", outcome.end);
        if !ours || !ok {
            for line in outcome.stdout.lines().take(8) {
                println!("    | {line}");
            }
        }
        if !ok {
            for line in proc::tail(&outcome.stderr, 8).lines() {
                println!("    ! {line}");
            }
        }
        same &= ok;
    }
    Ok(same.then_some(()))
}

fn times(ways: &[Way; 4], input: &Path, rounds: usize, table: &mut ui::Table) -> Result<()> {
    let targets = ways.iter().map(|way| {
        let image = way.image.iter().map(|image| ("LD_MORSEL_IMAGE", image.as_os_str()));
        Target::new(&way.command, &image.chain([("LC_ALL", OsStr::new("C"))]).collect::<Vec<_>>())
    });
    let targets = targets.collect::<Result<Vec<_>>>()?;
    let spinner = ui::spinner("measuring".to_owned());
    let times = harness::run(&targets, rounds, Some(input));
    spinner.finish_and_clear();
    let exits = times?.iter().map(|times| times.exit().context("no times")).collect::<Result<Vec<_>>>()?;
    let row = |title: &str, cell: &dyn Fn(usize) -> String| {
        let cells = (0..ways.len()).map(cell);
        std::iter::once(title.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    table.row(row("exec to exit", &|way| exits[way].text()));
    table.row(row("  ratio", &|way| format!("{:.3}", exits[way].median_us / exits[0].median_us)));
    Ok(())
}

/// Counts the system calls of the whole run, by strace.
fn system_calls(ways: &[Way; 4], input: &Path, dir: &Path, table: &mut ui::Table) -> Result<()> {
    if !proc::in_path("strace") {
        ui::remark("No count of system calls: strace is not installed.");
        return Ok(());
    }
    let mut row = vec!["system calls".to_owned()];
    let file = dir.join("strace");
    for way in ways {
        let strace = ["strace", "-f", "-c", "-U", "calls,name", "-o"].map(OsStr::new);
        let outcome = proc::outcome(
            &mut way.shell(&[&strace[..], &[file.as_os_str()]].concat(), input),
            Duration::from_secs(60),
        )?;
        let report = fs::read_to_string(&file).unwrap_or_default();
        let total = report
            .lines()
            .rev()
            .find_map(|line| line.trim().strip_suffix(" total")?.trim().parse::<u64>().ok());
        match total {
            // The first is the execve by strace itself.
            Some(total) => row.push((total - 1).to_string()),
            None => {
                let why = proc::tail(&outcome.stderr, 1);
                ui::remark(format!("No count of system calls: strace cannot trace here ({why})."));
                return Ok(());
            }
        }
    }
    table.row(row);
    Ok(())
}

/// Shows what the loader says of its own work, whatever it says.
fn statistics(ways: &[Way; 4], input: &Path, dir: &Path) -> Result<()> {
    let file = dir.join("stats.json");
    let _ = fs::remove_file(&file);
    let mut run = ways[1].shell(&[], input);
    proc::outcome(run.env("LD_MORSEL_STATS", &file), Duration::from_secs(60))?;
    ui::heading("The loader's own statistics (LD_MORSEL_STATS)");
    let Ok(text) = fs::read_to_string(&file) else {
        ui::remark("  The loader wrote none.");
        return Ok(());
    };
    match serde_json::from_str(&text) {
        Ok(value) => stats::print(&value),
        Err(_) => println!("{text}"),
    }
    Ok(())
}
