//! Counting misses of the instruction TLB, where there are counters: virtual machines rarely have them.

use anyhow::{Context, Result};

use super::program::{Load, Sample};
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
    perf.args(way.program.arguments(load, Sample::Round));
    perf.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = perf.output().context("cannot run perf (Debian: linux-perf)")?;
    Ok(read(&String::from_utf8_lossy(&output.stderr), calls))
}

/// What perf says in its form for machines: the first field of an event's line is the count, or why there is none.
fn read(said: &str, calls: f64) -> Misses {
    let line = said.lines().find(|line| line.contains("iTLB-load-misses"));
    let value = line.and_then(|line| line.split(';').next()).unwrap_or_else(|| said.trim());
    match value.parse::<f64>() {
        Ok(misses) => Misses::PerThousand(misses / calls * 1e3),
        Err(_) => Misses::Uncounted(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Misses, read};

    #[test]
    fn what_cannot_be_counted_is_no_number() {
        let reasons = [
            (
                "<not supported>;;iTLB-load-misses:u;0;100.00;;\n12345;;instructions:u;9;100.00;;\n",
                "<not supported>",
            ),
            ("<not counted>;;iTLB-load-misses:u;0;0.00;;\n", "<not counted>"),
            (
                "No permission to enable iTLB-load-misses:u event.\n",
                "No permission to enable iTLB-load-misses:u event.",
            ),
            ("Error:\nno such program\n", "Error:\nno such program"),
            ("", ""),
        ];
        for (said, expected) in reasons {
            assert!(matches!(read(said, 1e6), Misses::Uncounted(why) if why == expected), "{said:?}");
        }
    }

    #[test]
    fn misses_are_for_a_thousand_calls() {
        let said = "2200;;iTLB-load-misses:u;9;100.00;;\n12345;;instructions:u;9;100.00;;\n";
        assert!(
            matches!(read(said, 1_100_000.0), Misses::PerThousand(misses) if (misses - 2.0).abs() < 1e-9)
        );
    }
}
