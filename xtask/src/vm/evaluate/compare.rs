//! The tables that compare starts: a row for each way to map files.

use anyhow::Result;

use super::starts::{Case, Counted, Start, figures, find};
use super::ways::{AUTO, AUTO_READY, FILE, MORSEL, Way};
use super::{Measured, Table, kilo, ratio};
use crate::vm::icount::Counts;

/// What a table shows of a start.
type Value = fn(&Counts) -> Option<u64>;

fn to_main(counts: &Counts) -> Option<u64> {
    counts.to_main.map(|count| count.median)
}

fn to_exit(counts: &Counts) -> Option<u64> {
    Some(counts.to_exit.median)
}

/// Compares all ways for these programs.
pub fn by_way(title: &str, note: &str, cases: &[Case], starts: &[Counted]) -> Result<Measured> {
    let mut measured = Measured { tables: Vec::new(), figures: figures(title, starts)? };
    // What a program does in main changes nothing before; where it sets no mark, nothing is known of that.
    let mut with_main: Vec<_> = cases
        .iter()
        .filter(|case| starts.iter().any(|(start, counts)| start.is(case) && to_main(counts).is_some()))
        .collect();
    with_main.dedup_by_key(|case| &case.command[0]);
    let all: Vec<_> = cases.iter().collect();
    for (what, value, cases) in [("main", to_main as Value, with_main), ("exit", to_exit, all)] {
        if !cases.is_empty() {
            let title = format!("{title}: exec to {what}");
            measured.tables.push(instructions(title, note, &cases, starts, value));
        }
    }
    measured.tables.push(memory(format!("{title}: page faults and page tables"), cases, starts));
    Ok(measured)
}

/// The ways that have been counted, in their order.
fn ways(starts: &[Counted]) -> Vec<Way> {
    let mut ways = Vec::new();
    for (Start { way, .. }, _) in starts {
        if !ways.contains(way) {
            ways.push(*way);
        }
    }
    ways
}

fn beside(others: usize) -> String {
    match others {
        0 => "alone".to_owned(),
        others => format!("beside {others}"),
    }
}

fn instructions(title: String, note: &str, cases: &[&Case], starts: &[Counted], value: Value) -> Table {
    let columns: Vec<_> =
        cases.iter().flat_map(|case| case.others.iter().map(move |&others| (*case, others))).collect();
    let head = columns.iter().map(|(case, others)| format!("{}, {}", case.name, beside(*others)));
    let mut table = Table::new(title, note, std::iter::once(String::new()).chain(head));
    for way in ways(starts) {
        let cells = columns.iter().map(|(case, others)| {
            let of = |way| find(starts, case, way, *others).and_then(|(_, counts)| value(counts));
            of(way)
                .zip(of(FILE))
                .map(|(own, file)| format!("{} ({})", kilo(own), ratio(own, file)))
                .unwrap_or_default()
        });
        table.rows.push(std::iter::once(way.name.to_owned()).chain(cells).collect());
    }
    table
}

/// Page faults beside others, and the page tables of most of them.
fn memory(title: String, cases: &[Case], starts: &[Counted]) -> Table {
    let most = |case: &Case| case.others.iter().copied().max().unwrap_or_default();
    let few = |case: &Case| case.others.iter().copied().find(|&others| others > 0).unwrap_or_default();
    let faults = cases.iter().map(|case| format!("{}: faults", case.name));
    let tables = cases.iter().map(|case| format!("tables of {}", most(case)));
    let note = "Page faults of a start beside others; KiB that so many processes have added to PageTables.";
    let mut table = Table::new(title, note, std::iter::once(String::new()).chain(faults).chain(tables));
    for way in ways(starts) {
        let of = |case, others| find(starts, case, way, others).map(|(_, counts)| counts);
        let faults = cases.iter().map(|case| of(case, few(case)).map(|counts| counts.faults.to_string()));
        let tables = cases.iter().map(|case| Some(of(case, most(case))?.tables?.1.to_string()));
        let cells = faults.chain(tables).map(Option::unwrap_or_default);
        table.rows.push(std::iter::once(way.name.to_owned()).chain(cells).collect());
    }
    table
}

/// Morsels in relation to `file`, for libraries of growing size.
pub fn by_size(title: &str, cases: &[Case], starts: &[Counted]) -> Table {
    let note = "Libraries linked by `linker-scripts/morsel.ld`, all of whose text can be shared: what a start costs in relation \
                to one with `file`.";
    let columns = [(MORSEL, 0), (MORSEL, 1), (AUTO, 0), (AUTO_READY, 1)];
    let values = [("main", to_main as Value), ("exit", to_exit)];
    let mut head = vec![String::new()];
    for (way, others) in columns {
        head.extend(values.map(|(to, _)| format!("{}, {}: to {to}", way.name, beside(others))));
    }
    let mut table = Table::new(title, note, head);
    for case in cases {
        let mut row = vec![case.name.clone()];
        for (way, others) in columns {
            row.extend(values.map(|(_, value)| {
                let of = |way| find(starts, case, way, others).and_then(|(_, counts)| value(counts));
                of(way).zip(of(FILE)).map(|(own, file)| ratio(own, file)).unwrap_or_default()
            }));
        }
        table.rows.push(row);
    }
    table
}
