//! What was measured, as it is written to JSON files and read by the report.

use serde::{Deserialize, Serialize};

use super::callgrind::Instructions;
use super::stats::{Ratio, Summary};
use super::trace::Counts;
use super::workload::Series;

/// All of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// The machine and its kernel: absolute times mean little without them.
    pub machine: String,
    /// The loader that was measured.
    pub loader: String,
    /// The workloads, in the order in which they were measured.
    pub workloads: Vec<Measured>,
}

/// One workload.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// One line on what it is.
    pub what: String,
    /// How many libraries and relocations against symbols it has, if it was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The series that it is a point of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    /// How often each peer was started.
    pub rounds: usize,
    /// All peers, also those that could not start it.
    pub peers: Vec<Column>,
}

/// The size of a generated program.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Size {
    /// Libraries.
    pub libraries: usize,
    /// Relocations against symbols.
    pub symbolic: usize,
}

/// What one peer did with one workload.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Column {
    /// The peer's name.
    pub peer: String,
    /// Why it could not start the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
    /// From exec to main.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main: Option<Time>,
    /// From exec to the exit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Time>,
    /// System calls, page faults and memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Instructions in user mode, by callgrind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Instructions>,
    /// Instructions of the whole machine, kernel and all, until main: counted in an emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_instructions: Option<u64>,
    /// What the loader says that its phases take, in microseconds, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<(String, f64)>,
    /// Instructions until main by stack, as the tools for flame graphs read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<String>,
}

/// A time, and how it compares to that of the first peer that took part.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Time {
    /// The time.
    pub time: Summary,
    /// Compared to the first peer.
    pub ratio: Ratio,
}

impl Measured {
    /// The column of a peer.
    pub fn column(&self, peer: &str) -> Option<&Column> {
        self.peers.iter().find(|column| column.peer == peer)
    }
}

impl Time {
    /// Of a series of microseconds, and that of the first peer; None if one is empty.
    pub fn of(times: &[f64], reference: &[f64]) -> Option<Self> {
        Some(Self { time: Summary::of(times)?, ratio: Ratio::of(times, reference)? })
    }
}

/// Processor, kernel and number of processors.
pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {processors} processors, Linux {}", model.map_or("x86-64", |(_, name)| name), kernel.trim())
}
