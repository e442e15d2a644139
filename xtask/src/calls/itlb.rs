//! Counting misses of the instruction TLB, where there are counters: virtual machines rarely have them.

use anyhow::{Context, Result};

use super::program::Load;
use super::way::Way;
use crate::proc;

const EVENTS: &str = "iTLB-load-misses:u,instructions:u";

/// What was counted.
pub enum Misses {
    /// Misses for each thousand calls.
    PerThousand(f64),
    /// Why nothing can be counted.
    Uncounted(String),
}

/// Counts the misses of a run.
pub fn count(way: &Way, load: Load, calls: f64) -> Result<Misses> {
    let program = way.command();
    let mut perf = proc::command("perf");
    perf.args(["stat", "-x", ";", "-e", EVENTS, "--"]).arg(program.get_program());
    perf.args(way.program.arguments(load));
    perf.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = perf.output().context("cannot run perf (Debian: linux-perf)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("iTLB-load-misses"));
    let value = line.and_then(|line| line.split(';').next()).unwrap_or_else(|| said.trim());
    Ok(match value.parse::<f64>() {
        Ok(misses) => Misses::PerThousand(misses / calls * 1e3),
        Err(_) => Misses::Uncounted(value.to_owned()),
    })
}
