//! Searches of a scope object by object, prepared some at a time: each goes as far as the first symbol that may have the name. What is
//! to be read of these lies far apart, mostly out of the near caches. It is asked for, so that the waiting times overlap.

use crate::elf::{Probe, SymbolName};
use crate::sys::prefetch;

use super::query::{Ahead, Candidate};
use super::{Entry, Query};

/// Prepares some searches.
pub(super) fn prepare(queries: &mut [Query<'_>], entries: &[Entry]) {
    for query in &mut *queries {
        query.ahead = first_candidate(&query.name, entries).map_or(Ahead::Nothing, Ahead::Walk);
    }
    for query in queries {
        if let Ahead::Walk(candidate) = &query.ahead {
            candidate.prefetch_name(entries);
        }
    }
}

/// Where a walk leads, if all tables on the way are such that hash values tell.
#[inline]
fn first_candidate(name: &SymbolName<'_>, entries: &[Entry]) -> Option<Candidate> {
    let mut probe = Probe::new(name);
    for (place, entry) in entries.iter().enumerate() {
        if probe.is_excluded_by(&entry.filter) {
            continue;
        }
        if let Some(symbol) = entry.table.candidate(name) {
            entry.table.raw_entry(symbol).into_iter().for_each(prefetch);
            return Some(Candidate { place: place as u32, symbol });
        }
        if !entry.table.has_hash_values() {
            return None;
        }
    }
    None
}
