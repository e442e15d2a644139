//! Symbol names and the two hash tables that find them: `DT_GNU_HASH` and `DT_HASH`.

use core::ops::Range;

use super::x86_64::{Hashes, Sixteen};
use super::{ElfError, Vaddr, View};

/// A symbol name with its hash values, computed once however many objects are asked.
#[derive(Clone, Copy, Debug)]
pub struct SymbolName<'a> {
    bytes: &'a [u8],
    gnu: u32,
}

impl<'a> SymbolName<'a> {
    /// No name at all.
    pub const EMPTY: Self = Self { bytes: &[], gnu: FIRST_HASH };

    /// A name without its terminating NUL.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        let (sixteens, rest) = bytes.as_chunks();
        let hash = sixteens.iter().fold(FIRST_HASH, |hash, bytes| add_sixteen(hash, Sixteen::new(bytes)));
        Self { bytes, gnu: rest.iter().fold(hash, |hash, &byte| add(hash, byte)) }
    }

    /// The NUL-terminated name at the start of `strings`, or `None` if no NUL follows.
    #[inline]
    pub fn read(strings: &'a [u8]) -> Option<Self> {
        let (sixteens, rest) = strings.as_chunks();
        let (mut gnu, mut length) = (FIRST_HASH, 0);
        for bytes in sixteens {
            let sixteen = Sixteen::new(bytes);
            if let Some(end) = sixteen.first_zero() {
                let last = sixteen.first(end).polynomial().wrapping_mul(INVERSES[Sixteen::LENGTH - end]);
                let gnu = gnu.wrapping_mul(POWERS[end]).wrapping_add(last);
                return Some(Self { bytes: strings.get(..length + end)?, gnu });
            }
            gnu = add_sixteen(gnu, sixteen);
            length += Sixteen::LENGTH;
        }
        let end = length + rest.iter().position(|&byte| byte == 0)?;
        Some(Self::new(&strings[..end]))
    }

    /// The hash value that `DT_GNU_HASH` uses.
    pub fn gnu_hash(&self) -> u32 {
        self.gnu
    }

    /// The name itself.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The hash function of `DT_HASH` (gABI chapter 5, "Hash Table").
    pub(super) fn sysv_hash(&self) -> u32 {
        self.bytes.iter().fold(0_u32, |hash, &byte| {
            let hash = (hash << 4).wrapping_add(u32::from(byte));
            (hash ^ (hash >> 24 & 0xf0)) & 0x0fff_ffff
        })
    }

    /// Whether the NUL-terminated string at the start of `strings` is this name.
    #[inline]
    pub fn is_at(&self, strings: &[u8]) -> bool {
        match strings.split_at_checked(self.bytes.len()) {
            Some((head, tail)) => tail.first() == Some(&0) && same(head, self.bytes),
            None => false,
        }
    }
}

/// Whether two names of one length are the same: too short for a call to pay. If they are not, and have one hash value, then they
/// differ at their ends, as a rule.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    // The last chunk may overlap the one before it.
    if let (Some(one_end), Some(other_end)) = (one.last_chunk(), other.last_chunk()) {
        let long = |bytes: &[u8; 16]| u128::from_ne_bytes(*bytes);
        let ((chunks, _), (other_chunks, _)) = (one.as_chunks(), other.as_chunks());
        return long(one_end) == long(other_end)
            && chunks.iter().zip(other_chunks).all(|(one, other)| long(one) == long(other));
    }
    let word = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_ne_bytes(*bytes));
    match (word(one.last_chunk()), word(other.last_chunk())) {
        (Some(one_end), Some(other_end)) => {
            one_end == other_end && word(one.first_chunk()) == word(other.first_chunk())
        }
        _ => one.iter().eq(other),
    }
}

/// The hash function of `DT_GNU_HASH` (Bernstein's) is a polynomial in 33 that begins with this.
const FIRST_HASH: u32 = 5381;

#[inline]
fn add(hash: u32, byte: u8) -> u32 {
    hash.wrapping_mul(33).wrapping_add(u32::from(byte))
}

/// The powers of a number (modulo 2³²).
const fn powers(base: u32) -> [u32; Sixteen::LENGTH + 1] {
    let mut powers = [1_u32; Sixteen::LENGTH + 1];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1].wrapping_mul(base);
        exponent += 1;
    }
    powers
}

/// The powers of 33.
pub(super) const POWERS: [u32; Sixteen::LENGTH + 1] = powers(33);
/// What undoes multiplying by them: 33 is odd.
const INVERSES: [u32; Sixteen::LENGTH + 1] = powers(0x3e0f_83e1);

/// [`add`] for sixteen bytes.
#[inline]
fn add_sixteen(hash: u32, bytes: Sixteen) -> u32 {
    hash.wrapping_mul(POWERS[Sixteen::LENGTH]).wrapping_add(bytes.polynomial())
}

/// An object's symbol hash table. musl prefers the GNU table and consults the SysV one only in its absence.
#[derive(Clone, Copy, Debug)]
pub enum HashTable<'a> {
    /// `DT_GNU_HASH`
    Gnu(GnuHash<'a>),
    /// `DT_HASH`
    Sysv(SysvHash<'a>),
    /// Neither: nothing can be found by name.
    None,
}

/// The parts of a `DT_GNU_HASH` table.
#[derive(Clone, Copy, Debug)]
pub struct GnuHash<'a> {
    bloom: &'a [u64],
    bloom_shift: u32,
    first_symbol: u32,
    buckets: &'a [u32],
    chains: &'a [u32],
}

/// The parts of a `DT_HASH` table.
#[derive(Clone, Copy, Debug)]
pub struct SysvHash<'a> {
    buckets: &'a [u32],
    chains: &'a [u32],
}

/// A Bloom filter: it knows of most names that they are not in a table. That is the answer for nearly every object of a scope,
/// hence worth a few instructions and no call.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    words: &'a [u64],
    shift: u32,
}

/// A name's bits in Bloom filters.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    hash: u32,
    /// The bits of both hash functions, for tables with this shift: the second depends on it, and tables of about one size have
    /// the same.
    bits: u64,
    shift: u32,
}

impl Probe {
    /// The bits of a name.
    #[inline(always)]
    pub fn new(name: &SymbolName<'_>) -> Self {
        Self { hash: name.gnu, bits: 0, shift: u32::MAX }
    }

    /// Whether a table has no such name. A definition has set both bits.
    #[inline(always)]
    pub fn is_excluded_by(&mut self, filter: &Filter<'_>) -> bool {
        let Self { hash, .. } = *self;
        if filter.shift != self.shift {
            self.shift = filter.shift;
            self.bits = 1 << (hash % u64::BITS) | 1 << ((hash >> (filter.shift % u32::BITS)) % u64::BITS);
        }
        let words = filter.words;
        let word = words.get((hash / u64::BITS) as usize & words.len().wrapping_sub(1));
        word.is_none_or(|word| !word & self.bits != 0)
    }
}

impl<'a> HashTable<'a> {
    /// Reads whichever table the object has. `gnu_head` is the head of `DT_GNU_HASH`, if the caller knows it.
    ///
    /// # Errors
    /// [`ElfError::BadTable`] if a table reaches outside the object.
    pub fn parse(
        view: &View<'a>,
        gnu: Option<Vaddr>,
        sysv: Option<Vaddr>,
        gnu_head: Option<[u32; 4]>,
    ) -> Result<Self, ElfError> {
        match (gnu, sysv) {
            (Some(vaddr), _) => GnuHash::parse(view, vaddr, gnu_head).map(Self::Gnu),
            (None, Some(vaddr)) => SysvHash::parse(view, vaddr).map(Self::Sysv),
            (None, None) => Ok(Self::None),
        }
    }

    /// The first symbol index in the chain of `name` that `accept` takes (it compares the name).
    #[inline]
    pub fn find(&self, name: &SymbolName<'_>, accept: impl FnMut(u32) -> bool) -> Option<u32> {
        match self {
            Self::Gnu(table) => table.find(name, accept),
            Self::Sysv(table) => table.find(name, accept),
            Self::None => None,
        }
    }

    /// What [`HashTable::find`] finds, if the chain of `name` in a `DT_GNU_HASH` table has nothing for it before `index`.
    #[inline]
    pub fn find_from(
        &self,
        index: u32,
        name: &SymbolName<'_>,
        accept: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        match self {
            Self::Gnu(table) => table.find_from(index, name, accept),
            Self::Sysv(table) => table.find(name, accept),
            Self::None => None,
        }
    }

    /// The head of a `DT_GNU_HASH` table, for [`HashTable::parse`].
    pub fn gnu_head(&self) -> Option<[u32; 4]> {
        match self {
            Self::Gnu(table) => Some(table.head()),
            Self::Sysv(_) | Self::None => None,
        }
    }

    /// The table's filter.
    pub fn filter(&self) -> Filter<'a> {
        const NOTHING: Filter<'_> = Filter { words: &[0], shift: 0 };
        const ANYTHING: Filter<'_> = Filter { words: &[u64::MAX], shift: 0 };
        match self {
            Self::Gnu(table) if table.bloom.is_empty() => NOTHING,
            Self::Gnu(table) => Filter { words: table.bloom, shift: table.bloom_shift },
            Self::Sysv(_) => ANYTHING,
            Self::None => NOTHING,
        }
    }

    /// The symbols that can be looked up, by their numbers.
    pub fn covered(&self) -> Range<u32> {
        let first = self.first_covered();
        first..self.symbol_count().max(first)
    }

    /// The first of them.
    pub fn first_covered(&self) -> u32 {
        match self {
            Self::Gnu(table) => table.first_symbol,
            Self::Sysv(_) | Self::None => 0,
        }
    }

    /// How many symbols the table covers, from index 0 (musl's `count_syms`).
    pub fn symbol_count(&self) -> u32 {
        match self {
            Self::Gnu(table) => table.symbol_count(),
            Self::Sysv(table) => u32::try_from(table.chains.len()).unwrap_or(u32::MAX),
            Self::None => 0,
        }
    }
}

impl<'a> GnuHash<'a> {
    fn parse(view: &View<'a>, vaddr: Vaddr, head: Option<[u32; 4]>) -> Result<Self, ElfError> {
        const BAD: ElfError = ElfError::BadTable("DT_GNU_HASH");
        let words: &[u32] = view.table_from(vaddr, "DT_GNU_HASH")?;
        let (in_table, rest) = words.split_first_chunk().ok_or(BAD)?;
        let [bucket_count, first_symbol, bloom_count, bloom_shift] = match head {
            Some(head) => head,
            None => *in_table,
        };
        let bloom_bytes = u64::from(bloom_count) * size_of::<u64>() as u64;
        let bloom = view.table(Vaddr(vaddr.0 + 16), bloom_bytes, "DT_GNU_HASH")?;
        let (_, rest) = rest.split_at_checked(2 * bloom_count as usize).ok_or(BAD)?;
        let (buckets, chains) = rest.split_at_checked(bucket_count as usize).ok_or(BAD)?;
        Ok(Self { bloom, bloom_shift, first_symbol, buckets, chains })
    }

    #[inline]
    pub(super) fn find(&self, name: &SymbolName<'_>, accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let bucket = name.gnu.checked_rem(u32::try_from(self.buckets.len()).ok()?)?;
        self.find_from(*self.buckets.get(bucket as usize)?, name, accept)
    }

    /// The first symbol that `accept` takes, from `index` to the end of its chain, among those that may have the name: the hash value
    /// is the same, but for its lowest bit.
    #[inline]
    fn find_from(
        &self,
        index: u32,
        name: &SymbolName<'_>,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let start = index.checked_sub(self.first_symbol)? as usize;
        let mut rest = self.chains.get(start..)?;
        let symbol = |rest: &[u32]| self.first_symbol.wrapping_add((self.chains.len() - rest.len()) as u32);
        // Chains are short, and how short nobody can foretell: some entries at once take no more than one.
        while let Some((entries, behind)) = rest.split_first_chunk() {
            let (mut alike, at_end) = Hashes::new(entries).alike(name.gnu);
            while alike != 0 {
                let found = symbol(rest).wrapping_add(alike.trailing_zeros());
                if accept(found) {
                    return Some(found);
                }
                alike &= alike - 1;
            }
            if at_end {
                return None;
            }
            rest = behind;
        }
        for (place, &chained) in rest.iter().enumerate() {
            let found = symbol(rest).wrapping_add(place as u32);
            if chained | 1 == name.gnu | 1 && accept(found) {
                return Some(found);
            }
            if chained & 1 == 1 {
                return None;
            }
        }
        None
    }

    /// The numbers with which the table begins.
    fn head(&self) -> [u32; 4] {
        [self.buckets.len() as u32, self.first_symbol, self.bloom.len() as u32, self.bloom_shift]
    }

    /// The hash values of some symbols that the table covers, but for the lowest bit.
    #[inline]
    pub fn hashes(&self, symbols: &Range<u32>) -> &'a [u32] {
        let place = |symbol: u32| Some(symbol.checked_sub(self.first_symbol)? as usize);
        let (Some(start), Some(end)) = (place(symbols.start), place(symbols.end)) else { return &[] };
        self.chains.get(start..end).unwrap_or_default()
    }

    fn symbol_count(&self) -> u32 {
        let last = self.buckets.iter().copied().max().unwrap_or(0);
        let Some(start) = last.checked_sub(self.first_symbol) else { return 0 };
        let chain = self.chains.get(start as usize..).unwrap_or_default();
        let rest = chain.iter().take_while(|&&hash| hash & 1 == 0).count();
        last.saturating_add(u32::try_from(rest).unwrap_or(u32::MAX)).saturating_add(1)
    }
}

impl<'a> SysvHash<'a> {
    fn parse(view: &View<'a>, vaddr: Vaddr) -> Result<Self, ElfError> {
        const BAD: ElfError = ElfError::BadTable("DT_HASH");
        let words: &[u32] = view.table_from(vaddr, "DT_HASH")?;
        let (&[bucket_count, chain_count], rest) = words.split_first_chunk().ok_or(BAD)?;
        let (buckets, rest) = rest.split_at_checked(bucket_count as usize).ok_or(BAD)?;
        let chains = rest.get(..chain_count as usize).ok_or(BAD)?;
        Ok(Self { buckets, chains })
    }

    fn find(&self, name: &SymbolName<'_>, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let bucket = name.sysv_hash().checked_rem(u32::try_from(self.buckets.len()).ok()?)?;
        let mut index = *self.buckets.get(bucket as usize)?;
        // A chain visits each symbol once; more steps than symbols mean that a hostile one runs in circles.
        for _ in 0..self.chains.len() {
            if index == 0 {
                return None;
            }
            if accept(index) {
                return Some(index);
            }
            index = *self.chains.get(index as usize)?;
        }
        None
    }
}
