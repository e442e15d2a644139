//! How the values of an image's tables are written: little-endian, one after the other, checked when they are read.

use alloc::vec::Vec;
use core::ffi::CStr;

/// Writes values one after the other.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A number.
    pub fn word(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Numbers.
    pub fn words(&mut self, values: &[u64]) {
        values.iter().for_each(|&value| self.word(value));
    }

    /// A number of half the size.
    pub fn half(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A byte.
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Bytes with their count, aligned to a word.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.align();
        self.word(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self.align();
    }

    /// Whether there is a value. The value follows.
    pub fn presence(&mut self, present: bool) {
        self.byte(u8::from(present));
    }

    /// A string, if there is one.
    pub fn text(&mut self, text: Option<&CStr>) {
        self.presence(text.is_some());
        if let Some(text) = text {
            self.bytes(text.to_bytes_with_nul());
        }
    }

    /// Records with their count.
    pub fn list<'r, R: Record<'r> + Clone>(&mut self, records: &List<'r, R>) {
        self.word(records.len() as u64);
        records.iter().for_each(|record| record.write(self));
    }

    /// Zeros up to a multiple of a word.
    pub fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(size_of::<u64>()), 0);
    }

    /// All that has been written.
    pub fn finish(mut self) -> Vec<u8> {
        self.align();
        self.0
    }
}

/// Reads what a [`Writer`] has written. `None` is the answer where the bytes end, or make no sense.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(size)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// A number.
    pub fn word(&mut self) -> Option<u64> {
        self.take(size_of::<u64>())?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Numbers.
    pub fn words<const COUNT: usize>(&mut self) -> Option<[u64; COUNT]> {
        let bytes = self.take(COUNT * size_of::<u64>())?.as_chunks().0;
        let mut words = [0; COUNT];
        words.iter_mut().zip(bytes).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
        Some(words)
    }

    /// A number of half the size.
    pub fn half(&mut self) -> Option<u32> {
        self.take(size_of::<u32>())?.try_into().ok().map(u32::from_le_bytes)
    }

    /// A byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Bytes with their count.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        self.align()?;
        let size = usize::try_from(self.word()?).ok()?;
        let bytes = self.take(size)?;
        self.align()?;
        Some(bytes)
    }

    /// Whether a value follows.
    pub fn presence(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A string, if there is one.
    pub fn text(&mut self) -> Option<Option<&'a CStr>> {
        if !self.presence()? {
            return Some(None);
        }
        CStr::from_bytes_with_nul(self.bytes()?).ok().map(Some)
    }

    /// Records with their count, all that is left. Whether they are sound is seen later ([`List::checked`]); there is at least room for
    /// so many.
    pub fn unchecked_list<R: Record<'a>>(mut self) -> Option<List<'a, R>> {
        let count = usize::try_from(self.word()?).ok()?;
        let room = (self.bytes.len() - self.at) / size_of::<u64>();
        (count <= room).then_some(List::Written { records: self, count })
    }

    /// Records with their count. All of them are sound.
    pub fn list<R: Record<'a>>(&mut self) -> Option<List<'a, R>> {
        self.list_of(|_| true)
    }

    /// The same; all of them are also what they must be.
    pub fn list_of<R: Record<'a>>(&mut self, mut is_sound: impl FnMut(&R) -> bool) -> Option<List<'a, R>> {
        let count = usize::try_from(self.word()?).ok()?;
        let records = self.clone();
        for _ in 0..count {
            R::read(self).filter(&mut is_sound)?;
        }
        Some(List::Written { records, count })
    }

    /// Goes on at a multiple of a word.
    pub fn align(&mut self) -> Option<()> {
        let padding = self.at.next_multiple_of(size_of::<u64>()) - self.at;
        self.take(padding).map(|_| ())
    }
}

/// What can be written and read again.
pub trait Record<'a>: Sized {
    /// Writes it.
    fn write(&self, to: &mut Writer);

    /// Reads it; `None` if it is damaged.
    fn read(from: &mut Reader<'a>) -> Option<Self>;
}

/// Numbers of half the size, as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.0.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The bytes that stand for these numbers.
    pub fn to_bytes(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
        numbers.flat_map(u32::to_le_bytes).collect()
    }

    /// The numbers that these bytes stand for.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Records, to be written or as they were. Those are read when somebody wants them, since memory that a start takes is never given
/// back.
#[derive(Clone, Debug)]
pub enum List<'a, R> {
    /// To be written.
    Values(&'a [R]),
    /// As they were written.
    Written {
        /// Reads the first of them next.
        records: Reader<'a>,
        /// How many there are.
        count: usize,
    },
}

impl<'a, R> Default for List<'a, R> {
    fn default() -> Self {
        Self::Values(&[])
    }
}

impl<'a, R: Record<'a> + Clone + PartialEq> PartialEq for List<'a, R> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, R: Record<'a> + Clone + Eq> Eq for List<'a, R> {}

impl<'a, R: Record<'a> + Clone> List<'a, R> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Written { count, .. } => *count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One after the other.
    pub fn iter(&self) -> Iter<'a, R> {
        Iter { rest: self.clone() }
    }

    /// One after the other, as far as they are sound: the first that is not is `None`, and so may be those behind it.
    pub fn checked(&self) -> impl Iterator<Item = Option<R>> + 'a
    where
        R: 'a,
    {
        let mut records = self.iter();
        (0..self.len()).map(move |_| records.next())
    }
}

impl<'a, R: Record<'a> + Clone> IntoIterator for &List<'a, R> {
    type Item = R;
    type IntoIter = Iter<'a, R>;

    fn into_iter(self) -> Iter<'a, R> {
        self.iter()
    }
}

/// The records of a [`List`], one after the other.
#[derive(Clone, Debug)]
pub struct Iter<'a, R> {
    rest: List<'a, R>,
}

impl<'a, R: Record<'a> + Clone> Iterator for Iter<'a, R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        match &mut self.rest {
            List::Values(values) => {
                let (first, rest) = values.split_first()?;
                *values = rest;
                Some(first.clone())
            }
            List::Written { records, count } => {
                *count = count.checked_sub(1)?;
                R::read(records)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rest.len(), Some(self.rest.len()))
    }
}

impl<'a, R: Record<'a> + Clone> ExactSizeIterator for Iter<'a, R> {}

/// A checksum that any change of a single word changes: each step can be undone. Four at a time, as one waits for the other.
pub fn checksum(parts: &[&[u8]]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let mut sums = [1_u64, 2, 3, 4];
    for part in parts {
        let (words, rest) = part.as_chunks::<8>();
        let (fours, singles) = words.as_chunks::<4>();
        for four in fours {
            for (sum, word) in sums.iter_mut().zip(four) {
                *sum = mix(*sum, u64::from_le_bytes(*word));
            }
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        for word in singles.iter().chain([&last]) {
            sums[0] = mix(sums[0], u64::from_le_bytes(*word));
        }
        sums[1] = mix(sums[1], part.len() as u64);
    }
    sums.into_iter().fold(0, mix)
}
