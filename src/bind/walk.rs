//! Searches of a scope object by object, prepared some at a time: each goes as far as the first symbol that may have the name. What is
//! to be read of these lies far apart, mostly out of the near caches. It is asked for, so that the waiting times overlap.

use crate::elf::SymbolName;
use crate::sys::prefetch;

use super::query::{Ahead, Candidate};
use super::{Entry, Query};

/// Prepares some searches.
pub(super) fn prepare(queries: &mut [Query<'_>], entries: &[Entry]) {
    for query in &mut *queries {
        query.ahead = candidate(&query.name, entries);
    }
    for query in queries {
        if let Ahead::Candidate(Candidate { place, symbol }) = query.ahead
            && let Some(text) = entries.get(place as usize).and_then(|entry| entry.table.start_of_name(symbol))
        {
            prefetch(text);
        }
    }
}

/// Where a walk leads, if all tables on the way are such that hash values tell.
#[inline]
fn candidate(name: &SymbolName<'_>, entries: &[Entry]) -> Ahead {
    for (place, entry) in (0..).zip(entries) {
        if entry.filter.excludes(name) {
            continue;
        }
        if let Some(symbol) = entry.table.candidate(name) {
            entry.table.raw_entry(symbol).into_iter().for_each(prefetch);
            return Ahead::Candidate(Candidate { place, symbol });
        }
        if !entry.table.has_hash_values() {
            break;
        }
    }
    Ahead::Nothing
}
