//! Asks our loader itself what its phases take (LD_MORSEL_STATS).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::harness::Target;
use super::stats::Summary;
use super::workload::Start;

/// How often it is asked.
const ROUNDS: usize = 15;

/// The phases in their order, with the medians of what they take in microseconds. Empty if the loader says nothing.
pub fn of(start: &Start) -> Result<Vec<(String, f64)>> {
    let file = std::env::temp_dir().join(format!("ld-morsel-stats-{}", std::process::id()));
    let mut target = Target::of(&start.clone().with("LD_MORSEL_STATS", &file))?;
    let mut order: Vec<String> = Vec::new();
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        target.try_out(start.input.as_deref())?;
        let Ok(text) = fs::read_to_string(&file) else { return Ok(Vec::new()) };
        fs::remove_file(&file)?;
        let stats: Value = serde_json::from_str(&text).context("LD_MORSEL_STATS wrote no JSON")?;
        let phases =
            stats.get("phases_ns").and_then(Value::as_object).context("LD_MORSEL_STATS has no phases")?;
        for (phase, time) in phases {
            if !order.contains(phase) {
                order.push(phase.clone());
            }
            times.entry(phase.clone()).or_default().extend(time.as_f64().map(|time| time / 1e3));
        }
    }
    let median = |phase: String| Some((phase.clone(), Summary::of(times.get(&phase)?)?.median_us));
    Ok(order.into_iter().filter_map(median).collect())
}
