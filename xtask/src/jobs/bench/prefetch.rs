//! `cargo xtask bench prefetch`: what programs touch before main, and whether mapping that at once makes starts faster: what
//! `morselctl record` measures.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::bench::peers::{Lab, Peer};
use crate::bench::results::machine;
use crate::bench::workload::{self, Workload};
use crate::vm::evaluate::{Table, into_page, today};
use crate::{jobs, paths, proc, ui};

/// The page that has the table.
const PAGE: &str = "docs/passes.md";

/// What is started beside programs that write.
const WORKLOADS: [&str; 6] = ["grid-100", "far-100", "vtables", "clang-format", "node", "preload-all"];

/// How many pages of a library those write to.
const WRITERS: [usize; 3] = [16, 64, 400];

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Write the table into docs/passes.md
    #[arg(long)]
    write: bool,
    /// How many pairs of starts of each program, with the pass and without
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// What is of interest in a recording (`morselctl/src/record/recording.rs`).
#[derive(Deserialize)]
struct Mode {
    runs: u64,
    libraries: Vec<Touched>,
    trial: Trial,
}

#[derive(Deserialize)]
struct Touched {
    main: Vec<(i64, u64, u64)>,
}

#[derive(Deserialize)]
struct Trial {
    warm: Times,
    cold: Times,
}

#[derive(Deserialize)]
struct Times {
    rounds: u32,
    better: u32,
    without: f64,
    with: f64,
}

impl Times {
    fn cells(&self) -> [String; 2] {
        let Self { rounds, better, without, with } = self;
        [format!("{without:.0}, {with:.0}"), format!("{better} of {rounds}")]
    }
}

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    jobs::setup::everything()?;
    let mut lab = Lab::new(&jobs::build::loader()?)?;
    let head = [
        "program",
        "pages touched",
        "mapped at once: pages in calls",
        "warm: µs",
        "faster in",
        "cold: µs",
        "faster in",
        "verdict",
    ];
    let note = "Times from exec to main, medians without the pass and with it, the image in the page cache (warm) or not (cold). \
                Faster: in how many pairs of starts the one with the pass was.";
    let mut table = Table::new("Starts with and without `prefetch`", note, head);
    let mut workloads = Vec::new();
    for name in WORKLOADS {
        let workload = workload::standard().into_iter().find(|workload| workload.name == name);
        workloads.push(workload.with_context(|| format!("there is no workload {name}"))?);
    }
    for pages in WRITERS {
        workloads.push(Workload {
            name: format!("writes to {pages} pages"),
            ..Workload::given(&writer(pages)?, &[], &[])?
        });
    }
    for workload in &workloads {
        let spinner = ui::spinner(format!("measuring {}", workload.name));
        let said = measure(&mut lab, workload, args.rounds);
        spinner.finish_and_clear();
        let (mode, mapped, verdict) = said.with_context(|| workload.name.clone())?;
        let runs = mode.libraries.iter().flat_map(|library| &library.main);
        let touched: u64 = runs.filter(|(.., times)| 2 * times >= mode.runs).map(|(_, pages, _)| pages).sum();
        let row = [workload.name.clone(), touched.to_string(), mapped].into_iter();
        let row =
            row.chain(mode.trial.warm.cells()).chain(mode.trial.cold.cells()).chain([verdict.to_owned()]);
        let row: Vec<String> = row.collect();
        println!("{}", row.join(" | "));
        table.rows.push(row);
    }
    let text = format!("{}, {}.\n\n{}", machine(), today()?, table.markdown());
    println!("\n{text}");
    if args.write {
        into_page(&paths::repo().join(PAGE), "prefetch", &text)?;
    }
    Ok(true)
}

/// Records a workload. With it come how much the pass maps at once, pages in calls, and the verdict.
fn measure(lab: &mut Lab, workload: &Workload, rounds: u32) -> Result<(Mode, String, &'static str)> {
    let start = Peer::Ours.start(lab, workload)?;
    lab.with_image(start.clone(), None)?;
    let program = fs::metadata(&start.program)?;
    let image = lab.image_directory(None).join(format!("{:x}-{:x}", program.dev(), program.ino()));
    let recording = lab.image_directory(None).join("recording");
    let record = |rounds: u32| -> Result<String> {
        let mut record = proc::command(jobs::build::tool()?);
        record.args(["record", "--rounds", &rounds.to_string(), "--image"]).arg(&image);
        record.arg("-o").arg(&recording).arg(&start.program).args(&start.argv[1..]);
        proc::output(record.env_clear().envs(start.env.iter().cloned()))
    };
    // What has not been measured is used.
    record(0)?;
    let passes = format!("default,prefetch={}", recording.display());
    let said = proc::output(&mut lab.build_image(&start, Some(&passes))?)?;
    let mapped = said.lines().find_map(|line| line.trim().strip_prefix("prefetch: "));
    let mapped = mapped.and_then(|line| line.split(": ").nth(1)?.split(" calls").next());
    let mapped = mapped.with_context(|| format!("the build says {said:?}"))?.to_owned();
    let verdict = if record(rounds)?.contains("it pays") { "on" } else { "off" };
    let text = fs::read_to_string(&recording)?;
    let mode = serde_json::from_str(text.trim()).with_context(|| recording.display().to_string())?;
    Ok((mode, mapped, verdict))
}

/// A program with a library whose constructor writes to so many pages of it.
fn writer(pages: usize) -> Result<PathBuf> {
    let source = format!(
        "char data[{pages} * 4096] = {{ 1 }};\n\
         __attribute__((constructor)) static void fill(void) {{ for (int i = 0; i < {pages}; i++) data[i * 4096]++; }}\n"
    );
    let dir = paths::cache()?.join("bench").join(format!("writer-{}", paths::content_key(&[&source])));
    let program = dir.join("writer");
    if !program.exists() {
        fs::create_dir_all(&dir)?;
        let (library, main) = (dir.join("library.c"), dir.join("main.c"));
        fs::write(&library, source)?;
        fs::write(&main, "extern char data[]; int main(void) { return *data == 0; }\n")?;
        let at = |name: &str| dir.join(name);
        let mut gcc = proc::command("musl-gcc");
        gcc.args(["-shared", "-fPIC", "-o"]).arg(at("libdata.so")).arg(&library);
        proc::output(&mut gcc)?;
        let mut gcc = proc::command("musl-gcc");
        gcc.args(["-fPIE", "-pie", "-mno-direct-extern-access", "-Wl,-rpath,$ORIGIN", "-o"]);
        proc::output(gcc.arg(at("new")).arg(&main).arg(at("libdata.so")))?;
        fs::rename(at("new"), &program)?;
    }
    Ok(program)
}
