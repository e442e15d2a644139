//! Searches of a scope object by object, prepared some at a time.

use crate::elf::{RelocationTable, SymbolName};
use crate::sys::prefetch;

use super::query::Candidate;
use super::{Entry, Query};

const BATCH: usize = RelocationTable::BATCH;

/// Prepares some searches, at most [`RelocationTable::BATCH`].
pub(super) fn prepare(queries: &mut [Query<'_>], entries: &[Entry]) {
    let places = first_places(queries, entries);
    for (query, &place) in queries.iter().zip(&places) {
        if let Some(bucket) = entries.get(place as usize).and_then(|entry| bucket(entry, &query.name)) {
            prefetch(bucket);
        }
    }
    for (query, &place) in queries.iter().zip(&places) {
        if let Some(hash) = entries.get(place as usize).and_then(|entry| chain(entry, &query.name)) {
            prefetch(hash);
        }
    }
    for (query, place) in queries.iter_mut().zip(places) {
        find_candidates(query, entries, place);
        query.prefetch_symbols(entries);
    }
    queries.iter().for_each(|query| query.prefetch_names(entries));
}

/// The places of the first objects that may define the names. The walk is one for all names, which saves the processor guessing
/// where each would end.
#[inline]
fn first_places(queries: &[Query<'_>], entries: &[Entry]) -> [u32; BATCH] {
    let mut places = [u32::MAX; BATCH];
    // Those that are under way.
    let mut walking: [u8; BATCH] = core::array::from_fn(|number| number as u8);
    let mut count = queries.len().min(BATCH);
    for (place, entry) in (0..).zip(entries) {
        let mut rest = 0;
        for at in 0..count {
            let number = walking[at];
            let Some(query) = queries.get(usize::from(number)) else { continue };
            places[usize::from(number) % BATCH] = place;
            walking[rest] = number;
            rest += usize::from(entry.filter.excludes(&query.name));
        }
        count = rest;
        if count == 0 {
            break;
        }
    }
    // Nobody defines these.
    walking.iter().take(count).for_each(|&number| places[usize::from(number) % BATCH] = u32::MAX);
    places
}

#[inline]
fn bucket(entry: &Entry, name: &SymbolName<'_>) -> Option<&'static u32> {
    entry.table.gnu_hash()?.bucket(name)
}

/// Where a name's chain begins.
#[inline]
fn chain(entry: &Entry, name: &SymbolName<'_>) -> Option<&'static u32> {
    let table = entry.table.gnu_hash()?;
    table.chained(*table.bucket(name)?)
}

/// Finds the symbols that a walk would look at in the first object that has any, from `place` on.
#[inline]
fn find_candidates(query: &mut Query<'_>, entries: &[Entry], mut place: u32) {
    let Query { name, likely } = query;
    while let Some(table) = entries.get(place as usize).and_then(|entry| entry.table.gnu_hash()) {
        let mut room = likely.iter_mut();
        let mut enter = |symbol| {
            room.next().is_none_or(|likely| {
                *likely = Candidate { place, symbol };
                false
            })
        };
        if let Some(first) = table.bucket(name) { table.find_from(*first, name, &mut enter); }
        if room.len() < 2 {
            break;
        }
        let rest = entries.iter().skip(place as usize + 1);
        place += 1 + rest.take_while(|entry| entry.filter.excludes(name)).count() as u32;
    }
}
