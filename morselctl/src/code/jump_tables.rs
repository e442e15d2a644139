//! Jump tables: distances to code that stand in read-only data, from the beginning of their table. Who moves code away from
//! read-only data must know all of them.
//!
//! Such a distance becomes an address by an addition, and the address is branched to. Compilers do both in the same function, for a
//! `switch`: there every indirect branch must lead to what has been loaded, given or returned, or to the sum of a table's address
//! and one of its entries, whose number a comparison limits (`flow`). What becomes of an address that is handed on cannot be
//! followed; so no other word of read-only data may be a distance to code (`hidden`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};
use ld_morsel::elf::Vaddr;

use super::flow::Flow;
use super::reference::{Field, Kind};
use super::{Code, Pointer, Uncertain};

/// A table's address and where its entries lead, from the first on.
type Tables = BTreeMap<Vaddr, Vec<Vaddr>>;

/// Addresses in read-only data that something refers to, and what does.
type Referred = BTreeMap<Vaddr, Vaddr>;

/// Bytes of an entry.
const ENTRY: u64 = 4;
/// Tables and what follows them are aligned to no more.
const ALIGNMENT: usize = 64;

/// What is known before.
struct Known<'c, 'a> {
    code: &'c Code<'a>,
    referred: Referred,
    /// Addresses in functions that branch to registers: tables begin there.
    bases: BTreeSet<Vaddr>,
    /// Addresses within functions that stand in data.
    labels: BTreeSet<Vaddr>,
}

/// All of them. What else may be a distance to code is `hidden`'s business.
///
/// # Errors
/// A branch is not understood.
pub fn find(code: &Code<'_>) -> Result<Vec<Pointer>, Uncertain> {
    let mut tables = Tables::new();
    let referred = referred(code);
    let groups = groups(code).into_iter().map(|group| Flow::new(code, &group));
    let branches = |flow: &Flow| flow.instructions().iter().any(|one| indirect_target(one).is_some());
    let groups: Vec<Flow> = groups.filter(branches).collect();
    let bases = groups.iter().flat_map(Flow::instructions);
    let bases = bases.filter(|one| one.mnemonic() == Mnemonic::Lea && one.is_ip_rel_memory_operand());
    let bases = bases.map(|lea| Vaddr(lea.ip_rel_memory_address())).collect();
    let known = Known { code, referred, bases, labels: labels(code) };
    for flow in groups {
        of_group(&known, flow, &mut tables)?;
    }
    let referred = known.referred;
    // Distances may also count from the file's beginning.
    let first = code.sections().first().map_or(Vaddr(0), |section| section.range.start);
    if let Some((target, at)) = referred.range(..first).next() {
        return Err(Uncertain::Ambiguous(*at, *target, "in the headers".to_owned()));
    }
    for (table, entries) in &tables {
        let end = Vaddr(table.0 + ENTRY * entries.len() as u64);
        let inside = referred.range(Vaddr(table.0 + 1)..end).next();
        if let Some((target, at)) = inside {
            return Err(Uncertain::Ambiguous(*at, *target, "within a jump table".to_owned()));
        }
    }
    Ok(tables.iter().flat_map(|(table, entries)| pointers(*table, entries)).collect())
}

fn pointers(table: Vaddr, entries: &[Vaddr]) -> impl Iterator<Item = Pointer> + '_ {
    let places = (table.0..).step_by(ENTRY as usize).map(Vaddr);
    places
        .zip(entries)
        .map(|(at, target)| Pointer { field: Field { at, width: ENTRY as u8 }, target: *target })
}

/// Functions that jump into each other's midst, as the cold parts of functions do: each group is one.
fn groups(code: &Code<'_>) -> Vec<Vec<Range<Vaddr>>> {
    let starts = code.beginnings();
    let of = |at: Vaddr| starts.partition_point(|start| *start <= at).saturating_sub(1);
    let mut leader: Vec<usize> = (0..starts.len()).collect();
    fn find(leader: &mut [usize], mut one: usize) -> usize {
        while leader[one] != one {
            leader[one] = leader[leader[one]];
            one = leader[one];
        }
        one
    }
    for jump in code.references().filter(|reference| reference.kind == Kind::Jump) {
        let (from, to) = (of(jump.at), of(jump.target));
        if from != to && starts[to] != jump.target {
            let (from, to) = (find(&mut leader, from), find(&mut leader, to));
            leader[from] = to;
        }
    }
    let mut groups: BTreeMap<usize, Vec<Range<Vaddr>>> = BTreeMap::new();
    for (number, start) in starts.iter().enumerate() {
        let section = code.section_at(*start).filter(|_| !code.is_linkage_table(*start));
        let Some(section) = section else { continue };
        let end = starts.get(number + 1).map_or(section.range.end, |next| section.range.end.min(*next));
        groups.entry(find(&mut leader, number)).or_default().push(*start..end);
    }
    groups.into_values().collect()
}

/// Finds the tables of a group of functions. What they lead to may show where else an address comes from, so that this is repeated
/// until nothing new is found.
fn of_group(known: &Known<'_, '_>, mut flow: Flow, tables: &mut Tables) -> Result<(), Uncertain> {
    flow.connect_jumps();
    // Who jumps there is not followed.
    let label = known.labels.iter().find(|label| flow.holds(**label));
    loop {
        let mut found = Tables::new();
        let (mut edges, mut refused) = (Vec::new(), None);
        for (index, instruction) in flow.instructions().iter().enumerate() {
            let Some(register) = indirect_target(instruction) else { continue };
            let used = flow.tables(index, register).and_then(|used| {
                let branch = Vaddr(instruction.ip());
                let read = |used: (Vaddr, _)| match label {
                    Some(_) => Err(Uncertain::Computed(branch, "beside labels whose addresses are taken")),
                    None => Ok((used.0, entries(known, &flow, branch, used)?)),
                };
                used.into_iter().map(read).collect::<Result<Vec<_>, _>>()
            });
            match used {
                Ok(used) => {
                    edges
                        .extend(used.iter().flat_map(|(_, entries)| entries).map(|target| (index, target.0)));
                    used.into_iter().for_each(|(table, entries)| add(&mut found, table, entries));
                }
                Err(cause) => refused = Some(cause),
            }
        }
        if flow.connect(edges) {
            continue;
        }
        if !flow.is_complete() {
            flow.complete();
            continue;
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        found.into_iter().for_each(|(table, entries)| add(tables, table, entries));
        return Ok(());
    }
}

/// Of a table that is used twice, the longer one counts.
fn add(tables: &mut Tables, table: Vaddr, entries: Vec<Vaddr>) {
    let known = tables.entry(table).or_default();
    if known.len() < entries.len() {
        *known = entries;
    }
}

/// The register that an instruction branches to.
fn indirect_target(instruction: &Instruction) -> Option<Register> {
    let indirect =
        matches!(instruction.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall);
    (indirect && instruction.op0_kind() == OpKind::Register).then(|| instruction.op0_register())
}

/// Where the entries of a table lead, all of which must be in the functions that use it, or where these jump to. If their number
/// is not known, they go on to what is referred to next.
fn entries(
    Known { code, referred, bases, .. }: &Known<'_, '_>,
    flow: &Flow,
    branch: Vaddr,
    (table, count): (Vaddr, Option<u64>),
) -> Result<Vec<Vaddr>, Uncertain> {
    let unknown = |cause| Uncertain::Computed(branch, cause);
    let section = code.section_at(table).filter(|section| !section.writable && !section.executable);
    let end = section.ok_or_else(|| unknown("by a table that can be written to"))?.range.end;
    let target = |at: u64| {
        let word = code.bytes(Vaddr(at), ENTRY as usize).first_chunk().copied()?;
        Some(Vaddr(table.0.wrapping_add_signed(i32::from_le_bytes(word).into())))
            .filter(|target| flow.has(*target))
    };
    let next = referred.range(Vaddr(table.0 + 1)..end).next().map_or(end, |(next, _)| *next);
    let room = count.map_or(next.0, |count| table.0.saturating_add(ENTRY.saturating_mul(count)));
    let places = (table.0..room).step_by(ENTRY as usize);
    let targets: Vec<Vaddr> = places.map_while(target).collect();
    let last = Vaddr(table.0 + ENTRY * targets.len() as u64);
    // What comes next may be a table of its own. Else it must not look like an entry of this one.
    let may_follow =
        |next: Vaddr| target(next.0).is_none() || bases.contains(&next) && begins_table(code, next);
    let is_whole = match count {
        Some(count) => targets.len() as u64 == count && (!referred.contains_key(&last) || may_follow(last)),
        None => {
            let gap = code.bytes(last, next.0.saturating_sub(last.0) as usize);
            let is_gap = gap.len() < ALIGNMENT && gap.iter().all(|byte| *byte == 0);
            !targets.is_empty() && may_follow(next) && is_gap
        }
    };
    if is_whole { Ok(targets) } else { Err(unknown("by a table of unknown length")) }
}

/// Addresses within functions that relocation writes into data.
fn labels(code: &Code<'_>) -> BTreeSet<Vaddr> {
    let beginnings: BTreeSet<Vaddr> = code.beginnings().into_iter().collect();
    let targets = code.relocated().values().copied().flatten();
    targets.filter(|target| code.begins(*target) && !beginnings.contains(target)).collect()
}

fn referred(code: &Code<'_>) -> Referred {
    let references = code.references().filter(|reference| !reference.is_branch());
    let references = references.map(|reference| (reference.target, reference.at));
    let relocated = code.relocated().iter().filter_map(|(at, target)| Some(((*target)?, *at)));
    let all = references.chain(relocated);
    all.filter(|(target, _)| {
        code.section_at(*target).is_none_or(|section| !section.writable && !section.executable)
    })
    .collect()
}

/// Whether what is at an address in read-only data may be the first entry of a table.
fn begins_table(code: &Code<'_>, at: Vaddr) -> bool {
    let word = code.bytes(at, ENTRY as usize).first_chunk().map(|word| i32::from_le_bytes(*word));
    word.is_some_and(|word| code.begins(Vaddr(at.0.wrapping_add_signed(word.into()))))
}
