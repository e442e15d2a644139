//! Where a start spends its time in the kernel and in the loader, with and without morsels, as flame graphs: perf samples
//! starts in a guest while another process of the program lives.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use inferno::collapse::Collapse;
use inferno::collapse::perf::Folder;

use super::Bench;
use crate::bench::profile;
use crate::vm::Scratch;
use crate::vm::disk::Root;
use crate::vm::guest::Guest;
use crate::vm::text::{Link, Program, Text};
use crate::{apt, paths, proc, ui};

const PERF: &str = "/usr/bin/perf";

/// Starts that are sampled.
const STARTS: u32 = 40;

/// Frames of a stack that are believed: without frame pointers perf loses its way.
const DEEPEST: u32 = 24;

/// How files are mapped, and the picture of it.
const WAYS: [(&str, &str); 2] = [("file", "docs/start-file.svg"), ("morsel", "docs/start-morsel.svg")];

/// Draws a picture for each way into the documentation.
pub fn draw(bench: &Bench) -> Result<()> {
    apt::install(&["linux-perf"])?;
    let text = Text::build(32 << 10, Link::Ordinary)?;
    let program = text.program(Program::Plain)?;
    let scratch = Scratch::create("evaluate-flames")?;
    let mut root = Root::create(&scratch.0)?;
    root.musl_program(&program, Path::new(paths::STOCK))?;
    root.copy(bench.loader)?;
    for tool in [PERF, "/bin/busybox"] {
        root.program(Path::new(tool))?;
    }
    let output = sample(bench, &root, &program)?;
    for (way, picture) in WAYS {
        let stacks = folded(&output, way)?;
        let title = format!("{STARTS} starts, all of 32 MiB of text called, LD_MORSEL_MAP={way}");
        let svg = profile::flame_graph(&title, "samples", &stacks)?;
        let file = paths::repo().join(picture);
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        ui::step("Wrote", picture);
    }
    Ok(())
}

/// What perf says of all ways, each between lines with its name.
fn sample(bench: &Bench, root: &Root, program: &Path) -> Result<String> {
    let (loader, program) = (bench.loader.display(), program.display());
    let mut script = String::from(
        "mount -t proc proc /disk/proc\nmount -o bind /dev /disk/dev\ninsmod /module.ko || exit\n",
    );
    script += "mkdir -p /disk/tmp\nmkfifo /disk/tmp/open\n";
    for (way, _) in WAYS {
        let start = format!("env LD_MORSEL_MAP={way} {loader} {program} 100");
        let record = format!("{PERF} record -q -F 10000 -e cpu-clock -g -o /tmp/{way}");
        script += &format!(
            "sleep 1000 > /disk/tmp/open & opener=$!\n\
             chroot /disk {start} < /disk/tmp/open > /dev/null 3> /dev/null & other=$!\n\
             sleep 2\n\
             chroot /disk {record} -- /bin/busybox sh -c \
             'i=0; while [ $i -lt {STARTS} ]; do {start} < /dev/null > /dev/null 3> /dev/null; i=$((i+1)); done' || exit\n\
             kill $other $opener\n\
             echo '@{way}'\n\
             chroot /disk {PERF} script --max-stack {DEEPEST} -i /tmp/{way} -F comm,pid,tid,time,event,ip,sym,dso 2> /dev/null || exit\n\
             echo '@'\n"
        );
    }
    let mut guest = Guest::new("flames", bench.kernel, &script);
    guest.files.copy("module.ko", bench.module)?;
    guest.disk = Some(root.dir());
    // A sample every so many instructions: the time that an emulator takes is another.
    guest.icount = true;
    guest.processors = 1;
    guest.limit = Duration::from_secs(600);
    let ended = guest.run()?;
    if ended.status != 0 {
        bail!("sampling failed in the guest:\n{}", proc::tail(&ended.output, 10));
    }
    Ok(ended.output)
}

/// The stacks of the program's own samples, as many lines.
fn folded(output: &str, way: &str) -> Result<Vec<String>> {
    let samples = output.split_once(&format!("@{way}\n")).and_then(|(_, rest)| rest.split_once("\n@\n"));
    let (samples, _) = samples.with_context(|| format!("perf said nothing of {way}"))?;
    let mut folded = Vec::new();
    Folder::default().collapse(samples.as_bytes(), &mut folded).context("cannot read perf's samples")?;
    let lines = String::from_utf8(folded)?;
    let own: Vec<String> =
        lines.lines().filter(|line| line.starts_with("ld-morsel")).map(str::to_owned).collect();
    ensure!(!own.is_empty(), "perf has no samples of {way}");
    Ok(own)
}
