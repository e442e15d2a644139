//! One table of all names that a scope defines, so that a search need not ask object after object. It pays where many
//! names are looked up among many objects; where there are few, walking is cheaper.
//!
//! The hash tables of the objects hold the hash values of their names: the table is made without reading a name. Entries
//! are in order of the scope, and whoever asks compares names, so that a search finds what a walk would find.

use alloc::vec::Vec;
use core::ops::Range;

use crate::elf::SymbolName;
use crate::sys::prefetch;

use super::query::{Ahead, Candidate, LIKELY};
use super::{Entry, Query};

/// What it costs to enter a name, in steps of a walk.
const STEPS_TO_ENTER: usize = 3;
/// The part of the steps that a walk takes until it finds something: one in so many.
const STEPS_TAKEN: usize = 2;
/// With fewer steps than that there is nothing to be saved, not even by counting names.
const FEW_STEPS: usize = 1 << 11;
/// More names than that are more memory than a start should take.
const MOST_NAMES: usize = 1 << 20;

/// The symbols and names of so many exports are all in a near cache once they have been used: there is no need to ask early.
const FEW_NAMES: usize = 1 << 14;

/// A name in the table: its hash value, and where it is defined.
type Export = [u32; 2];

/// Bits of an [`Export`]'s second word that hold the number of the symbol; above them is the place of the object.
const SYMBOL_BITS: u32 = 20;

/// The table: names by hash value.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    /// Where the names with certain hash values begin, one such bucket after the other.
    starts: &'a [u32],
    /// The names, by bucket, then in order of the scope.
    exports: &'a [Export],
}

/// What a table will hold.
#[derive(Debug)]
pub struct Outline<'e> {
    entries: &'e [Entry],
    /// The exports of each.
    exports: Vec<Range<u32>>,
    /// All of them.
    count: usize,
    /// How many names the objects ask for, at most.
    lookups: usize,
}

impl<'e> Outline<'e> {
    /// The outline of a table for these objects; `None` if a walk is cheaper, or the only way.
    pub fn worthwhile(entries: &'e [Entry]) -> Option<Self> {
        let lookups = entries.iter().map(|entry| entry.table.first_export() as usize);
        let steps = steps(lookups.fold(0, usize::saturating_add), entries.len());
        (steps >= FEW_STEPS).then(|| Self::of(entries).filter(Self::pays)).flatten()
    }

    /// The outline of a table for these objects; `None` if they do not fit into one.
    pub(super) fn of(entries: &'e [Entry]) -> Option<Self> {
        let mut outline = Self { entries, exports: Vec::with_capacity(entries.len()), count: 0, lookups: 0 };
        for entry in entries {
            let exports = entry.table.exports();
            outline.lookups = outline.lookups.saturating_add(exports.start as usize);
            outline.count = outline.count.saturating_add(exports.len());
            if exports.end >> SYMBOL_BITS > 0 {
                return None;
            }
            outline.exports.push(exports);
        }
        let fits = outline.count <= MOST_NAMES && entries.len() <= 1 << (u32::BITS - SYMBOL_BITS);
        fits.then_some(outline)
    }

    /// Whether the table is cheaper than walking.
    fn pays(&self) -> bool {
        steps(self.lookups, self.entries.len()) > self.count * STEPS_TO_ENTER
    }

    /// How many words of memory the table needs: as many buckets as names, the end of the last one, and the names.
    pub fn words(&self) -> usize {
        self.count + 1 + self.count * size_of::<Export>() / size_of::<u32>()
    }

    fn for_each(&self, mut each: impl FnMut(usize, u32, u32)) {
        for (place, (entry, exports)) in self.entries.iter().zip(&self.exports).enumerate() {
            entry.table.for_each_hash(exports, |symbol, hash| each(place, symbol, hash));
        }
    }
}

/// How many steps walks take for so many names among so many objects.
fn steps(lookups: usize, objects: usize) -> usize {
    lookups.saturating_mul(objects) / STEPS_TAKEN
}

impl<'a> Index<'a> {
    /// Makes the table in `memory`, which is zero, and as much as the outline says.
    pub fn new(outline: &Outline<'_>, memory: &'a mut [u32]) -> Self {
        log::debug!("all names in one table: {}", outline.count);
        let (starts, exports) = memory.split_at_mut(outline.count + 1);
        let (exports, _) = exports.as_chunks_mut::<2>();
        // From the sizes of the buckets to where they begin, one place further on: while they are filled, these places become the
        // ends, which are where the next ones begin.
        let (_, ends) = starts.split_at_mut(1);
        outline.for_each(|_, _, hash| ends[bucket(hash, outline.count)] += 1);
        let mut next = 0;
        for end in &mut *ends {
            let size = core::mem::replace(end, next);
            next += size;
        }
        outline.for_each(|place, symbol, hash| {
            let end = &mut ends[bucket(hash, outline.count)];
            if let Some(export) = exports.get_mut(*end as usize) {
                *export = [hash >> 1, (place as u32) << SYMBOL_BITS | symbol];
                *end += 1;
            }
        });
        Self { starts, exports }
    }

    /// Asks for the bucket that a search will lead to to be at hand soon.
    #[inline]
    fn prefetch(&self, name: &SymbolName<'_>) {
        if let Some(start) = self.starts.get(bucket(name.gnu_hash(), self.starts.len() - 1)) {
            prefetch(start);
        }
    }

    /// Where the exports that may have a name are.
    #[inline]
    fn bucket(&self, name: &SymbolName<'_>) -> Range<usize> {
        let bucket = bucket(name.gnu_hash(), self.starts.len() - 1);
        match self.starts.get(bucket..bucket + 2) {
            Some(&[start, end]) => start as usize..end as usize,
            _ => 0..0,
        }
    }

    /// Prepares some searches: what they will read is asked for step by step for all of them, so that the waiting times overlap.
    pub fn prepare(&self, queries: &mut [Query<'_>], entries: &[Entry]) {
        let is_far = self.exports.len() > FEW_NAMES;
        if is_far {
            queries.iter().for_each(|query| self.prefetch(&query.name));
            for query in queries.iter() {
                self.exports.get(self.bucket(&query.name).start).into_iter().for_each(prefetch);
            }
        }
        for query in queries.iter_mut() {
            let mut likely = [Candidate::NONE; LIKELY];
            for (likely, found) in likely.iter_mut().zip(self.candidates(&query.name)) {
                *likely = found;
                found.prefetch_symbol(entries);
            }
            query.ahead = Ahead::Likely(likely);
        }
        if is_far {
            for query in queries {
                if let Ahead::Likely(likely) = &query.ahead {
                    likely.iter().for_each(|candidate| candidate.prefetch_name(entries));
                }
            }
        }
    }

    /// Symbols that may have the name, in order of the scope.
    #[inline]
    pub(super) fn candidates(&self, name: &SymbolName<'_>) -> impl Iterator<Item = Candidate> + use<'a> {
        let wanted = name.gnu_hash() >> 1;
        let exports = self.exports.get(self.bucket(name)).unwrap_or_default();
        exports.iter().filter(move |[hash, _]| *hash == wanted).map(|&[_, definition]| Candidate {
            place: definition >> SYMBOL_BITS,
            symbol: definition & ((1 << SYMBOL_BITS) - 1),
        })
    }
}

/// The bucket of a hash value, less than `buckets` (but 0 if there is none). The lowest bit does not count: in hash tables it
/// marks the end of a chain.
#[inline]
fn bucket(hash: u32, buckets: usize) -> usize {
    let mixed = (hash >> 1).wrapping_mul(0x9e37_79b1);
    ((u64::from(mixed) * buckets as u64) >> u32::BITS) as usize
}
