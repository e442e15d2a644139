//! Properties: a valid object stays valid, and no spoilt one makes the loader panic or believe something impossible.

use core::ops::Range;
use std::vec;
use std::vec::Vec;

use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;

use super::builder::{Built, HashStyle, Library, PROGRAM_HEADERS};
use super::drive::drive;
use crate::elf::ElfError;

/// One way to spoil a file.
#[derive(Clone, Debug)]
enum Damage {
    FlipBits { at: Place, mask: u8 },
    Overwrite { at: Place, width: usize, value: u64 },
    Splice { from: Place, to: Place, length: usize },
    Truncate { to: Index },
}

/// A place in the file: random bytes of the whole would mostly hit padding.
#[derive(Clone, Debug)]
struct Place {
    area: usize,
    index: Index,
}

impl Place {
    fn in_file(&self, built: &Built, width: usize) -> usize {
        let headers = 0..PROGRAM_HEADERS as usize + 6 * 56;
        let usize_range = |range: &Range<u64>| range.start as usize..range.end as usize;
        let whole = 0..built.bytes.len();
        let areas = [headers, usize_range(&built.dynamic), usize_range(&built.tables), whole];
        let area = areas[self.area].clone();
        area.start + self.index.index(area.len() / width) * width
    }
}

fn place() -> impl Strategy<Value = Place> {
    (0..4_usize, any::<Index>()).prop_map(|(area, index)| Place { area, index })
}

/// Values at which arithmetic goes wrong, if anywhere.
fn value() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 7, 8, 0xfff, 0x1000, 0x1001, 1 << 31, 1 << 32, 1 << 46, 1 << 47, 1 << 63, u64::MAX];
    let near_edge = (proptest::sample::select(edges.to_vec()), -24..24_i64)
        .prop_map(|(edge, distance)| edge.wrapping_add_signed(distance));
    prop_oneof![near_edge, 0..0x6000_u64, any::<u64>()]
}

fn damage() -> impl Strategy<Value = Damage> {
    let width = proptest::sample::select(vec![2_usize, 4, 8]);
    prop_oneof![
        3 => (place(), 1..=u8::MAX).prop_map(|(at, mask)| Damage::FlipBits { at, mask }),
        6 => (place(), width, value())
            .prop_map(|(at, width, value)| Damage::Overwrite { at, width, value }),
        2 => (place(), place(), 1..128_usize)
            .prop_map(|(from, to, length)| Damage::Splice { from, to, length }),
        1 => any::<Index>().prop_map(|to| Damage::Truncate { to }),
    ]
}

fn spoil(built: &Built, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = built.bytes.clone();
    for damage in damages {
        match damage {
            Damage::FlipBits { at, mask } => {
                if let Some(byte) = bytes.get_mut(at.in_file(built, 1)) {
                    *byte ^= mask;
                }
            }
            Damage::Overwrite { at, width, value } => {
                let at = at.in_file(built, *width);
                if let Some(field) = bytes.get_mut(at..at + width) {
                    field.copy_from_slice(&value.to_le_bytes()[..*width]);
                }
            }
            Damage::Splice { from, to, length } => {
                let (from, to) = (from.in_file(built, 8), to.in_file(built, 8));
                if from.max(to) + length <= bytes.len() {
                    bytes.copy_within(from..from + length, to);
                }
            }
            Damage::Truncate { to } => bytes.truncate(to.index(built.bytes.len())),
        }
    }
    bytes
}

fn hash_style() -> impl Strategy<Value = HashStyle> {
    proptest::sample::select(vec![HashStyle::Gnu, HashStyle::Sysv, HashStyle::Both])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_makes_the_loader_panic(hash in hash_style(), damages in collection::vec(damage(), 1..6)) {
        let _ = drive(&spoil(&Library::complete(hash).build(), &damages));
    }

    #[test]
    fn no_single_field_makes_the_loader_panic(hash in hash_style(), damage in damage()) {
        let _ = drive(&spoil(&Library::complete(hash).build(), &[damage]));
    }

    #[test]
    fn what_is_no_elf_file_is_refused(mut bytes in collection::vec(any::<u8>(), 0..300)) {
        if let Some(first) = bytes.first_mut() {
            *first &= 0x7e;
        }
        let error = if bytes.len() < 64 { ElfError::Truncated } else { ElfError::NotElf };
        prop_assert_eq!(drive(&bytes), Err(error));
    }
}

#[test]
fn whatever_the_builder_makes_is_accepted() {
    for hash in [HashStyle::Gnu, HashStyle::Sysv, HashStyle::Both] {
        for library in [Library { hash, ..Library::default() }, Library::complete(hash)] {
            assert_eq!(drive(&library.build().bytes), Ok(()));
        }
    }
}

#[test]
fn every_truncation_ends_in_an_error_or_a_valid_object() {
    let built = Library::complete(HashStyle::Both).build();
    for length in (0..built.bytes.len()).step_by(7) {
        let outcome = drive(&built.bytes[..length]);
        // The last page may be incomplete: the kernel fills it up with zeroes.
        assert_eq!(outcome.is_ok(), length as u64 > built.data, "{length} bytes: {outcome:?}");
    }
}
