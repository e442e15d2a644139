//! The table of names against the walk: whatever a program's objects define, and however, both find the same.

use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use goblin::elf64::sym::{
    STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STT_COMMON, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT,
    STT_SECTION, STT_TLS,
};
use proptest::collection::vec as vector;
use proptest::prelude::*;
use proptest::sample::select;

use super::{load, program};
use crate::bind::{Accept, Definition, Group, Index, Lookup, Outline, Query, Scope};
use crate::elf::SymbolName;
use crate::elf::tests::builder::{HashStyle, Library, SymbolSpec, gnu_hash};
use crate::program::{ObjectId, Origin, Program};

/// Few names, so that most are defined several times. Those of a line have one hash value or differ only in its lowest
/// bit, which the hash tables do not keep.
const NAMES: &[&str] = &[
    "ab",
    "bA",
    "ac",
    "bB",
    "ad",
    "bC", //
    "abab",
    "abbA",
    "bAab",
    "bAbA", //
    "variable0",
    "variable1",
    "variable2",
    "variable3", //
    "",
    "f",
    "g", //
    "fopen",
    "fopen64",
    "stat",
    "stat64", //
    "_ZNSt6vectorIiSaIiEE9push_backERKi",
    "_ZNSt6vectorIiSaIiEE9push_backEOi",
];

#[test]
fn the_names_collide_as_they_are_said_to() {
    let hash = |name: &str| gnu_hash(name.as_bytes());
    assert_eq!(hash("ab"), hash("bA"));
    assert_eq!(hash("abab"), hash("bAbA"));
    assert_eq!(hash("ab") | 1, hash("ac") | 1, "only the lowest bit differs");
    assert_ne!(hash("ab"), hash("ac"));
    let one_bit = |pair: [&str; 2]| hash(pair[0]) ^ hash(pair[1]) == 1;
    assert!(one_bit(["variable0", "variable1"]) || one_bit(["variable1", "variable2"]));
}

/// A symbol, acceptable or not.
fn symbol() -> impl Strategy<Value = SymbolSpec> {
    const KINDS: &[u8] =
        &[STT_FUNC, STT_OBJECT, STT_NOTYPE, STT_COMMON, STT_TLS, STT_GNU_IFUNC, STT_SECTION, 4, 15];
    let kind = prop_oneof![3 => Just(STT_FUNC), 2 => select(KINDS)];
    let binding = prop_oneof![4 => Just(STB_GLOBAL), 1 => select(&[STB_LOCAL, 2, STB_GNU_UNIQUE, 3, 13])];
    let value = prop_oneof![1 => Just(0), 3 => 1..1_u64 << 32];
    let rarely = || prop::bool::weighted(0.25);
    (select(NAMES), kind, binding, value, rarely(), rarely()).prop_map(
        |(name, kind, binding, value, undefined, hidden)| SymbolSpec {
            info: binding << 4 | kind,
            section: u16::from(!undefined),
            hidden,
            ..SymbolSpec::function(name).at(value)
        },
    )
}

fn library() -> impl Strategy<Value = Library> {
    let style = prop_oneof![
        3 => Just(HashStyle::Gnu),
        1 => select(&[HashStyle::Sysv, HashStyle::SysvBackwards, HashStyle::Both]),
    ];
    (style, vector(symbol(), 0..12))
        .prop_map(|(hash, symbols)| Library { hash, ..Library::defining(symbols) })
}

/// What a definition is: its object, the symbol's value and what it says about itself.
type Found = Option<(usize, u64, u8, bool)>;

fn what(found: Option<Definition>) -> Found {
    found.map(|Definition { object, symbol, .. }| {
        (object.index(), symbol.value, symbol.info(), symbol.is_defined())
    })
}

/// What all kinds of search find.
fn searches(lookup: &Lookup<'_>, query: &Query<'_>) -> [Found; 3] {
    [
        what(lookup.find(query, Accept::AnyWithValue)),
        what(lookup.find(query, Accept::DefinitionOnly)),
        what(lookup.find_behind_program(query)),
    ]
}

/// Looks names up by a table of the scope's first group, and by a walk.
fn compare<'n>(
    scope: &Scope,
    local: Option<&Group>,
    local_first: bool,
    names: impl Iterator<Item = &'n str>,
) -> Result<(), TestCaseError> {
    let entries = scope.first();
    let outline = Outline::of(entries).expect("small programs fit into a table");
    let mut memory = vec![0; outline.words()];
    let index = Index::new(&outline, &mut memory);
    let walk = Lookup { global: scope, local, local_first, index: None };
    let table = Lookup { index: Some(index), ..walk };
    let names: Vec<&str> = names.collect();
    for batch in names.chunks(16) {
        let queries: Vec<Query<'_>> =
            batch.iter().map(|name| SymbolName::new(name.as_bytes()).into()).collect();
        let prepared = [walk, table].map(|lookup| {
            let mut prepared = queries.clone();
            lookup.prepare(&mut prepared);
            (lookup, prepared)
        });
        for (place, (name, query)) in batch.iter().zip(&queries).enumerate() {
            let expected = searches(&walk, query);
            prop_assert_eq!(searches(&table, query), expected, "{}", name);
            for (lookup, prepared) in &prepared {
                prop_assert_eq!(searches(lookup, &prepared[place]), expected, "{}, prepared", name);
            }
        }
    }
    Ok(())
}

fn load_all(libraries: &[Library]) -> Program {
    let mut program = Program::default();
    for library in libraries {
        program.add(load(library));
    }
    program
}

fn ids(places: core::ops::Range<usize>) -> impl Iterator<Item = ObjectId> {
    places.map(|place| ObjectId(place as u32))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_finds_what_a_walk_finds(
        libraries in vector(library(), 2..60),
        libc in any::<prop::sample::Index>(),
        special in any::<bool>(),
    ) {
        let mut program = load_all(&libraries);
        if special {
            // The last but one stands before libc, the last is never searched.
            let count = program.ids().count();
            program[ObjectId(count as u32 - 2)].origin = Origin::Loader;
            program[ObjectId(count as u32 - 1)].origin = Origin::Vdso;
        }
        let libc = libc.index(libraries.len() - 1) as u32;
        if program[ObjectId(libc)].origin == Origin::File {
            program[ObjectId(libc)].origin = Origin::Libc;
        }
        compare(&Scope::new(&program), None, false, NAMES.iter().copied().chain(["absent", "open64"]))?;
    }

    #[test]
    fn the_table_is_one_part_of_a_scope(
        libraries in vector(library(), 2..24),
        ends in [any::<prop::sample::Index>(), any::<prop::sample::Index>()],
        local_first in any::<bool>(),
    ) {
        let program = load_all(&libraries);
        let count = libraries.len();
        let mut ends = ends.map(|end| end.index(count + 1));
        ends.sort_unstable();
        let scope = Scope::default();
        scope.append(Group::new(&program, ids(0..ends[0])));
        scope.append(Group::new(&program, ids(ends[0]..ends[1])));
        let local = Group::new(&program, ids(ends[1]..count));
        compare(&scope, Some(&local), local_first, NAMES.iter().copied())?;
    }
}

#[test]
fn chains_of_a_sysv_table_have_their_own_order() {
    let twice = |hash| {
        let symbols = [1, 2].map(|value| SymbolSpec::function("f").at(value));
        load_all(&[Library::default(), Library { hash, ..Library::defining(symbols) }])
    };
    for (hash, value) in [(HashStyle::Sysv, 1), (HashStyle::SysvBackwards, 2)] {
        let program = twice(hash);
        assert_eq!(super::find(&program, "f", Accept::DefinitionOnly), Some((1, value)));
        compare(&Scope::new(&program), None, false, ["f"].into_iter()).expect("the table agrees");
    }
}

#[test]
fn the_first_symbol_of_a_table_is_never_found() {
    let library = Library { hash: HashStyle::Sysv, ..Library::defining([SymbolSpec::function("").at(1)]) };
    let program = load_all(&[library]);
    assert_eq!(super::find(&program, "", Accept::DefinitionOnly), Some((0, 1)), "the second one is");
    compare(&Scope::new(&program), None, false, [""].into_iter()).expect("the table agrees");
}

#[test]
fn nothing_defines_nothing() {
    let program = program(&[&[], &[]]);
    compare(&Scope::new(&program), None, false, NAMES.iter().copied()).expect("both find nothing");
}

proptest! {
    // So many names that searches are prepared.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prepared_searches_find_the_same(
        libraries in vector(library(), 4..10),
        sizes in vector(3_000..4_000_usize, 6),
        step in 1..700_usize,
    ) {
        let mut program = load_all(&libraries);
        let filler = |number: usize| format!("_ZN7morsel{}function{number:x}Ev", number % 7);
        for (place, &size) in sizes.iter().enumerate() {
            // Each defines some names that others define, too.
            let numbers = place * 2_900..place * 2_900 + size;
            let symbols = numbers.map(|number| SymbolSpec::function(filler(number)).at(1 + number as u64));
            program.add(load(&Library::defining(symbols)));
        }
        for library in &libraries {
            program.add(load(library));
        }
        let fillers: BTreeSet<String> = (0..20_000).step_by(step).map(filler).collect();
        let names = NAMES.iter().copied().chain(fillers.iter().map(String::as_str));
        compare(&Scope::new(&program), None, false, names)?;
    }
}
