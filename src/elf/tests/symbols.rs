//! Lookup by name: both hash tables find what is there and nothing else, and spoilt ones come to an end.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::builder::{CODE, HashStyle, Library, SymbolSpec, sysv_hash};
use super::drive::Pages;
use crate::elf::{ElfError, HashTable, SymbolName, Vaddr, View};
use crate::program::Object;
use crate::sys::FileIdentity;

const ANY_FILE: FileIdentity = FileIdentity { device: 0, inode: 0 };
const STYLES: [HashStyle; 3] = [HashStyle::Gnu, HashStyle::Sysv, HashStyle::Both];

fn load(library: &Library) -> Box<Object> {
    super::object::load(library, c"lib", ANY_FILE).expect("the builder makes valid libraries")
}

fn value_of(object: &Object, name: &[u8]) -> Option<u64> {
    object.symbols.lookup(&SymbolName::new(name)).map(|symbol| symbol.value)
}

/// A table of 32-bit words as an object's only content, at address 0x1000.
fn with_hash_table<T>(
    words: &[u32],
    use_table: impl FnOnce(Result<HashTable<'_>, ElfError>) -> T,
    gnu: bool,
) -> T {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let pages = Pages::new(&bytes, 0);
    let vaddr = Vaddr(0x1000);
    let view = View::new(vec![(vaddr, pages.bytes())]);
    let (gnu, sysv) = if gnu { (Some(vaddr), None) } else { (None, Some(vaddr)) };
    use_table(HashTable::parse(&view, gnu, sysv, None))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lookup_agrees_with_a_naive_model(
        defined in proptest::collection::btree_map("[a-c]{0,4}", 1..1_u64 << 40, 0..60),
        asked in proptest::collection::btree_set("[a-d]{0,5}", 0..60),
    ) {
        let symbols = defined.iter().map(|(name, &value)| SymbolSpec::function(name).at(value));
        let library = Library::defining(symbols);
        let model: BTreeMap<&str, u64> = defined.iter().map(|(name, &value)| (name.as_str(), value)).collect();
        let names: BTreeSet<&str> = asked.iter().map(String::as_str).chain(model.keys().copied()).collect();
        for hash in STYLES {
            let object = load(&Library { hash, ..library.clone() });
            for name in &names {
                prop_assert_eq!(value_of(&object, name.as_bytes()), model.get(name).copied());
            }
        }
    }

    #[test]
    fn iteration_covers_every_symbol(names in proptest::collection::btree_set("[a-z]{1,6}", 1..40)) {
        for hash in STYLES {
            let symbols = names.iter().map(SymbolSpec::function);
            let object = load(&Library { hash, ..Library::defining(symbols) });
            let found: BTreeSet<Vec<u8>> = object
                .symbols
                .iter()
                .skip(1)
                .map(|(_, symbol)| object.symbols.name_of(&symbol).expect("the builder names symbols").bytes().into())
                .collect();
            prop_assert_eq!(found, names.iter().map(|name| name.as_bytes().into()).collect::<BTreeSet<_>>());
            // The first symbol of a table is nameless.
            prop_assert_eq!(object.symbols.iter().count(), names.len() + 1);
        }
    }
}

#[test]
fn a_name_is_not_found_by_its_beginning_or_with_something_added() {
    for hash in STYLES {
        let object = load(&Library { hash, ..Library::defining([SymbolSpec::function("strlen")]) });
        assert_eq!(value_of(&object, b"strlen"), Some(CODE));
        for other in [&b"strle"[..], b"strlenn", b"", b"strlen\0"] {
            assert_eq!(value_of(&object, other), None);
        }
    }
}

#[test]
fn symbols_of_hidden_versions_are_passed_over() {
    for hash in STYLES {
        let symbols = [
            SymbolSpec::function("twice").at(0x100).hidden(),
            SymbolSpec::function("twice").at(0x200),
            SymbolSpec::function("old").hidden(),
        ];
        let object = load(&Library { hash, ..Library::defining(symbols) });
        assert_eq!(value_of(&object, b"twice"), Some(0x200));
        assert_eq!(value_of(&object, b"old"), None);
    }
}

#[test]
fn the_first_of_two_symbols_with_one_name_is_found() {
    for hash in STYLES {
        let symbols = [SymbolSpec::function("f").at(0x100), SymbolSpec::function("f").at(0x200)];
        let object = load(&Library { hash, ..Library::defining(symbols) });
        assert_eq!(value_of(&object, b"f"), Some(0x100));
    }
}

#[test]
fn the_gnu_table_is_preferred() {
    // A reference without a value is in the SysV table only.
    let symbols = [SymbolSpec::function("reference").undefined().at(0), SymbolSpec::function("f")];
    let library = Library::defining(symbols);
    let found = |hash| value_of(&load(&Library { hash, ..library.clone() }), b"reference");
    assert_eq!(found(HashStyle::Sysv), Some(0));
    assert_eq!(found(HashStyle::Gnu), None);
    assert_eq!(found(HashStyle::Both), None);
}

#[test]
fn an_object_without_symbols_defines_nothing() {
    for hash in STYLES {
        let object = load(&Library { hash, ..Library::default() });
        assert_eq!(value_of(&object, b"f"), None);
        assert!(object.symbols.iter().count() <= 1);
    }
}

#[test]
fn a_sysv_chain_that_runs_in_circles_ends() {
    // One bucket that begins with symbol 1, which is followed by 2, which is followed by 1.
    let table = [1, 3, 1, 0, 2, 1];
    let mut visited = Vec::new();
    let found = with_hash_table(
        &table,
        |hash| {
            hash.expect("the table is within bounds").find(&SymbolName::new(b"f"), |index| {
                visited.push(index);
                false
            })
        },
        false,
    );
    assert_eq!(found, None);
    assert_eq!(visited, [1, 2, 1]);
}

#[test]
fn a_sysv_chain_that_leaves_the_table_ends() {
    let find = |table: &[u32]| {
        with_hash_table(table, |hash| hash.expect("in bounds").find(&SymbolName::new(b"f"), |_| false), false)
    };
    assert_eq!(find(&[1, 2, 1, 0, 0xffff_ffff]), None);
    assert_eq!(find(&[1, 2, 0xffff_ffff, 0, 0]), None);
    assert_eq!(find(&[0, 0]), None);
}

#[test]
fn a_gnu_chain_without_an_end_stops_at_the_end_of_memory() {
    // One bucket, symbols from 1, a filter that lets everything pass, and two chain entries without the last bit.
    let hash = super::builder::gnu_hash(b"f") & !1;
    let table = [1, 1, 1, 0, u32::MAX, u32::MAX, 1, hash, hash];
    let mut visited = Vec::new();
    let (found, count) = with_hash_table(
        &table,
        |table| {
            let table = table.expect("the table is within bounds");
            let found = table.find(&SymbolName::new(b"f"), |index| {
                visited.push(index);
                false
            });
            (found, table.symbol_count())
        },
        true,
    );
    assert_eq!((found, visited), (None, vec![1, 2]));
    assert!(count >= 3);
}

#[test]
fn a_gnu_chain_is_followed_to_its_end_and_no_further() {
    // One bucket, symbols from 1. Every third entry has the hash value; so has all that follows the chain's end.
    let hash = super::builder::gnu_hash(b"f") & !1;
    for (length, behind) in (1..12_u32).flat_map(|length| (0..6).map(move |behind| (length, behind))) {
        let entry = |place: u32| if place % 3 == 2 { hash } else { hash ^ 0x100 };
        let mut chain: Vec<u32> = (0..length).map(entry).collect();
        *chain.last_mut().expect("not empty") |= 1;
        chain.resize((length + behind) as usize, hash);
        let table = [&[1, 1, 1, 0, u32::MAX, u32::MAX, 1][..], &chain].concat();
        let mut visited = Vec::new();
        let visit = |index| {
            visited.push(index);
            false
        };
        with_hash_table(
            &table,
            |table| table.expect("the table is within bounds").find(&SymbolName::new(b"f"), visit),
            true,
        );
        let expected: Vec<u32> = (1..=length).filter(|index| index % 3 == 0).collect();
        assert_eq!(visited, expected, "{length} entries and {behind} behind them");
    }
}

#[test]
fn a_gnu_bucket_below_the_first_symbol_is_empty() {
    let table = [1, 5, 1, 0, u32::MAX, u32::MAX, 4, 1];
    let (found, count) = with_hash_table(
        &table,
        |table| {
            let table = table.expect("the table is within bounds");
            (table.find(&SymbolName::new(b"f"), |_| true), table.symbol_count())
        },
        true,
    );
    assert_eq!((found, count), (None, 0));
}

#[test]
fn tables_that_reach_beyond_their_segment_are_refused() {
    for table in [&[1, 1, 0x4000_0000, 0, 0, 0][..], &[0x4000_0000, 1, 1, 0, 0, 0], &[u32::MAX, 1, 0], &[1]] {
        assert!(with_hash_table(table, |hash| hash.is_err(), true), "GNU table {table:?}");
    }
    for table in [&[0x4000_0000, 1, 0][..], &[1, 0x4000_0000, 0], &[u32::MAX, u32::MAX], &[1]] {
        assert!(with_hash_table(table, |hash| hash.is_err(), false), "SysV table {table:?}");
    }
}

#[test]
fn a_long_name_has_the_hash_of_the_gabi() {
    // Long enough for the upper bits to come into play; all bits set, for the sign.
    let long = [0xff; 64];
    let bucket_count = 1_000_003;
    let mut table = vec![0; 2 + bucket_count];
    table[..2].copy_from_slice(&[bucket_count as u32, 2]);
    table[2 + sysv_hash(&long) as usize % bucket_count] = 1;
    table.extend([0, 0]);
    let found = with_hash_table(
        &table,
        |hash| hash.expect("the table is within bounds").find(&SymbolName::new(&long), |index| index == 1),
        false,
    );
    assert_eq!(found, Some(1));
}

#[test]
fn a_name_without_an_end_is_no_name() {
    assert!(SymbolName::read(b"endless").is_none());
    assert!(SymbolName::read(b"").is_none());
    assert_eq!(SymbolName::read(b"name\0rest").map(|name| name.bytes()), Some(&b"name"[..]));
    assert!(!SymbolName::new(b"endless").is_at(b"endless"));
}
