//! Measures workloads: gets every peer ready, leaves out with a reason those that cannot start it, and takes times in
//! interleaved rounds.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::harness::{self, Target};
use super::peers::{Lab, Peer};
use super::results::{Column, Measured, Size, Time};
use super::workload::{Kind, Start, Workload};
use super::{callgrind, phases, profile, trace};
use crate::ui;

/// How long the rounds of one workload shall take together, in microseconds, unless their number is given.
const BUDGET: f64 = 5e6;

/// A peer that can start a workload.
pub struct Ready {
    /// Who it is.
    pub peer: Peer,
    /// What it starts.
    pub start: Start,
    target: Target,
    /// How long the trial took, in microseconds.
    trial: f64,
}

/// The peers of a workload.
pub struct Field {
    /// Those that can start it.
    pub ready: Vec<Ready>,
    /// The others, and why they cannot.
    pub absent: Vec<(Peer, String)>,
}

/// Gets the peers ready and tries each once. How the first one's program ends is how all have to end.
pub fn field(lab: &mut Lab, workload: &Workload, peers: &[Peer]) -> Result<Field> {
    let mut field = Field { ready: Vec::new(), absent: Vec::new() };
    let mut ending = None;
    for &peer in peers {
        match ready(lab, workload, peer) {
            Ok((ready, status)) if peer == Peer::Floor || *ending.get_or_insert(status) == status => {
                field.ready.push(ready);
            }
            Ok((_, status)) => {
                let why =
                    format!("ended with wait status {status:#x}, not {:#x}", ending.unwrap_or_default());
                field.absent.push((peer, why));
            }
            Err(error) => field.absent.push((peer, format!("{error:#}"))),
        }
    }
    if field.ready.is_empty() {
        let (_, why) = field.absent.first().context("no peer was chosen")?;
        bail!("nobody can start {}: {why}", workload.name);
    }
    Ok(field)
}

fn ready(lab: &mut Lab, workload: &Workload, peer: Peer) -> Result<(Ready, i32)> {
    let start = peer.start(lab, workload)?;
    let mut target = Target::of(&start)?;
    // The first run reads files from the disk: the second one's time counts.
    target.try_out(start.input.as_deref())?;
    let ending = target.try_out(start.input.as_deref())?;
    Ok((Ready { peer, start, target, trial: ending.exit }, ending.status))
}

/// What is measured beside times, system calls, faults and memory.
#[derive(Clone, Copy)]
pub struct Depth<'a> {
    /// How many rounds; else as many as fit into the usual time.
    pub rounds: Option<usize>,
    /// Whether instructions are counted, which takes a hundred times as long as a start.
    pub instructions: bool,
    /// Who counts the instructions of a whole machine, if anybody does.
    pub guest: Option<&'a dyn GuestCounter>,
}

/// Something that knows how many instructions a guest of an emulator executes from exec to main, the kernel's included.
pub trait GuestCounter {
    /// For one workload and one peer; None if it has not counted that.
    fn instructions(&self, workload: &str, peer: Peer) -> Option<u64>;
}

/// Counts that were made before, as a JSON object of workloads, each an object of peers: `{"hello": {"ours": 1234}}`.
#[derive(serde::Deserialize)]
pub struct Recorded(HashMap<String, HashMap<String, u64>>);

impl GuestCounter for Recorded {
    fn instructions(&self, workload: &str, peer: Peer) -> Option<u64> {
        self.0.get(workload)?.get(peer.name()).copied()
    }
}

/// Measures a workload with all peers that can start it.
pub fn workload(lab: &mut Lab, workload: &Workload, peers: &[Peer], depth: &Depth) -> Result<Measured> {
    let field = field(lab, workload, peers)?;
    let starts: Vec<_> = field.ready.iter().map(|ready| (ready.peer, ready.start.clone())).collect();
    let mut measured = times(workload, field, depth.rounds)?;
    let spinner = ui::spinner(format!("counting {}", workload.name));
    // Those that are ready are the first columns.
    for (column, (peer, start)) in measured.peers.iter_mut().zip(&starts) {
        spinner.set_message(format!("counting {} with {}", workload.name, peer.name()));
        column.counts = Some(trace::counts(start)?);
        if depth.instructions && peer.is_loader_of_musl() {
            column.instructions = Some(callgrind::instructions(start)?);
        }
        if *peer == Peer::Ours {
            column.phases = phases::of(start)?;
        }
        column.guest_instructions = depth.guest.and_then(|guest| guest.instructions(&workload.name, *peer));
    }
    spinner.finish_and_clear();
    Ok(measured)
}

/// Adds the stacks of both loaders of musl programs.
pub fn profile(lab: &mut Lab, workload: &Workload, measured: &mut Measured) -> Result<()> {
    for peer in [Peer::Stock, Peer::Ours] {
        let column = measured.peers.iter_mut().find(|column| column.peer == peer.name());
        if let Some(column) = column.filter(|column| column.absent.is_none()) {
            column.stacks = profile::stacks(lab, workload, peer)?;
        }
    }
    Ok(())
}

/// Takes the times of all that are ready, in interleaved rounds.
fn times(workload: &Workload, field: Field, rounds: Option<usize>) -> Result<Measured> {
    let Field { ready, absent } = field;
    let round: f64 = ready.iter().map(|ready| ready.trial).sum();
    let rounds = rounds.unwrap_or_else(|| (BUDGET / round).clamp(20.0, 500.0) as usize);
    let spinner = ui::spinner(format!("measuring {}", workload.name));
    let input: Option<PathBuf> = ready.first().and_then(|ready| ready.start.input.clone());
    let peers: Vec<_> = ready.iter().map(|ready| ready.peer).collect();
    let targets: Vec<_> = ready.into_iter().map(|ready| ready.target).collect();
    let times = harness::run(&targets, rounds, input.as_deref());
    spinner.finish_and_clear();
    let times = times?;
    let first = times.first().context("nothing was measured")?;
    let mut columns: Vec<_> = peers
        .iter()
        .zip(&times)
        .map(|(peer, times)| Column {
            peer: peer.name().to_owned(),
            main: Time::of(&times.marks, &first.marks),
            exit: Time::of(&times.exits, &first.exits),
            ..Column::default()
        })
        .collect();
    columns.extend(absent.into_iter().map(|(peer, why)| Column {
        peer: peer.name().to_owned(),
        absent: Some(why),
        ..Column::default()
    }));
    let size = match &workload.kind {
        Kind::Synthetic(spec) => Some(Size { libraries: spec.libraries, symbolic: spec.symbolic() }),
        Kind::Real(_) | Kind::Given(..) => None,
    };
    let (name, what) = (workload.name.clone(), workload.what.clone());
    Ok(Measured { name, what, size, series: workload.series, rounds, peers: columns })
}
