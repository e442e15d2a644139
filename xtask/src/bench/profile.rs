//! Where instructions go, as flame graphs: callgrind counts them by function and callers. Debian's musl has no symbols,
//! so its own source is built once more with them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use inferno::flamegraph::{self, Options};

use super::callgrind;
use super::peers::{Lab, Peer};
use super::workload::Workload;
use crate::apt::Release;
use crate::{paths, proc, ui};

/// The stacks of a start until main, for a loader of musl programs.
pub fn stacks(lab: &mut Lab, workload: &Workload, peer: Peer) -> Result<Vec<String>> {
    let start = peer.start(lab, workload)?;
    let libc = musl_with_symbols()?;
    // To our loader, musl is the libc that it starts.
    let start = match peer {
        Peer::Stock => lab.interpreted(start, *b"sym", &libc)?,
        _ => start.with("LD_MORSEL_LIBC", libc),
    };
    let spinner = ui::spinner(format!("profiling {} with {}", workload.name, peer.name()));
    let stacks = callgrind::stacks(&start);
    spinner.finish_and_clear();
    stacks.with_context(|| format!("cannot profile {} with {}", workload.name, peer.name()))
}

/// The flame graph of stacks, which count some unit, as SVG that can be zoomed and searched.
pub fn flame_graph(title: &str, unit: &str, stacks: &[String]) -> Result<String> {
    let mut options = Options::default();
    options.title = title.to_owned();
    options.count_name = unit.to_owned();
    options.image_width = Some(994);
    options.min_width = 0.15;
    // The colour of a function is the same in all graphs.
    options.hash = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, stacks.iter().map(String::as_str), &mut svg)
        .context("cannot draw the flame graph")?;
    String::from_utf8(svg).context("the flame graph is not UTF-8")
}

/// Stock musl of the same source as Debian's, with its symbols.
fn musl_with_symbols() -> Result<PathBuf> {
    let made = paths::cache()?.join("bench/musl-with-symbols/libc.so");
    if made.exists() {
        return Ok(made);
    }
    let dir = made.with_file_name("tree");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.with_file_name(""))?;
    let tree = Release::open("bookworm")?.source("musl")?;
    proc::output(proc::command("cp").arg("-a").arg(tree).arg(&dir))?;
    let spinner = ui::spinner("building musl with symbols".to_owned());
    let log = made.with_file_name("log");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let script = format!("./configure --enable-debug --disable-static && make -j{jobs} lib/libc.so");
    let built = proc::logged(proc::command("sh").args(["-c", &script]).current_dir(&dir), &log);
    spinner.finish_and_clear();
    built.context("cannot build musl with symbols")?;
    fs::copy(dir.join("lib/libc.so"), &made)?;
    fs::remove_dir_all(&dir)?;
    Ok(made)
}
