//! Tests of musl's scope rules, on programs made of small libraries in memory.

mod index;

use core::slice;
use std::boxed::Box;

use goblin::elf64::sym::{STB_GNU_UNIQUE, STB_LOCAL, STT_SECTION};

use super::{Accept, Definition, Group, Lookup, Scope, definition_in, is_a_libc};
use crate::elf::SymbolName;
use crate::elf::tests::builder::{HashStyle, Library, SymbolSpec};
use crate::elf::tests::object;
use crate::program::{Object, ObjectId, Origin, Program};
use crate::sys::FileIdentity;

use Accept::{AnyWithValue, DefinitionOnly};

fn load(library: &Library) -> Box<Object> {
    object::load(library, c"lib", FileIdentity { device: 0, inode: 0 }).expect("a valid library")
}

/// A program whose objects define these symbols.
fn program(objects: &[&[SymbolSpec]]) -> Program {
    let mut program = Program::default();
    for symbols in objects {
        program.add(load(&Library::defining(symbols.iter().cloned())));
    }
    program
}

/// The place of the object in which something is found, and the value.
fn place(found: Definition) -> (usize, u64) {
    (found.object.index(), found.symbol.value)
}

fn find(program: &Program, name: &str, accept: Accept) -> Option<(usize, u64)> {
    let global = Scope::new(program);
    let lookup = Lookup::in_global(&global);
    lookup.find(&SymbolName::new(name.as_bytes()).into(), accept).map(place)
}

fn ids(places: &[u32]) -> impl Iterator<Item = ObjectId> {
    places.iter().copied().map(ObjectId)
}

fn function(value: u64) -> SymbolSpec {
    SymbolSpec::function("f").at(value)
}

#[test]
fn the_first_definition_in_load_order_counts() {
    let program = program(&[&[], &[function(1)], &[function(2)]]);
    assert_eq!(find(&program, "f", DefinitionOnly), Some((1, 1)));
    assert_eq!(find(&program, "g", DefinitionOnly), None);
}

#[test]
fn a_search_may_begin_at_an_object() {
    let program = program(&[&[function(1)], &[function(2)], &[]]);
    let scope = Scope::new(&program);
    let from = |start| {
        let name = SymbolName::new(b"f");
        super::find_in(scope.entries_from(ObjectId(start)), &name, Accept::AnyWithValue).map(place)
    };
    assert_eq!(from(0), Some((0, 1)));
    assert_eq!(from(1), Some((1, 2)));
    assert_eq!(from(2), None);
    assert_eq!(from(3), None, "no such object");
}

#[test]
fn copies_are_made_of_what_is_behind_the_program() {
    let behind = |program: &Program| {
        let global = Scope::new(program);
        let lookup = Lookup::in_global(&global);
        lookup.find_behind_program(&SymbolName::new(b"f").into()).map(place)
    };
    assert_eq!(behind(&program(&[&[function(1)], &[], &[function(2)]])), Some((2, 2)));
    assert_eq!(behind(&program(&[&[function(1)]])), None);
}

#[test]
fn groups_are_searched_behind_the_program_in_the_order_in_which_they_became_global() {
    let program = program(&[&[], &[function(1)], &[function(2)], &[function(3)]]);
    let scope = Scope::default();
    scope.append(Group::new(&program, ids(&[0])));
    let local = Group::new(&program, ids(&[1]));
    let found = |local, local_first| {
        let lookup = Lookup { global: &scope, local, local_first, index: None };
        lookup.find(&SymbolName::new(b"f").into(), DefinitionOnly).map(place)
    };
    assert_eq!(found(None, false), None);
    assert_eq!(found(Some(&local), false), Some((1, 1)));
    scope.append(Group::new(&program, ids(&[2])));
    scope.append(Group::new(&program, ids(&[3])));
    assert_eq!(found(Some(&local), false), Some((2, 2)), "what is global comes first");
    assert_eq!(found(Some(&local), true), Some((1, 1)), "unless it is bound deeply");
    assert!(scope.contains(ObjectId(3)) && !scope.contains(ObjectId(1)));
    let from = |start| {
        let name = SymbolName::new(b"f");
        super::find_in(scope.entries_from(ObjectId(start)), &name, Accept::AnyWithValue).map(place)
    };
    assert_eq!((from(0), from(3), from(1)), (Some((2, 2)), Some((3, 3)), None));
}

#[test]
fn both_hash_tables_take_part() {
    let mut program = Program::default();
    for (hash, name) in [(HashStyle::Sysv, "in_sysv"), (HashStyle::Gnu, "in_gnu")] {
        program.add(load(&Library { hash, ..Library::defining([SymbolSpec::function(name).at(7)]) }));
    }
    assert_eq!(find(&program, "in_sysv", DefinitionOnly), Some((0, 7)));
    assert_eq!(find(&program, "in_gnu", DefinitionOnly), Some((1, 7)));
}

#[test]
fn weak_definitions_count_like_strong_ones() {
    let program = program(&[&[function(1).weak()], &[function(2)]]);
    assert_eq!(find(&program, "f", DefinitionOnly), Some((0, 1)));
}

#[test]
fn unique_definitions_count_and_local_ones_do_not() {
    let with = |binding| program(&[&[function(1).bound(binding)], &[function(2)]]);
    assert_eq!(find(&with(STB_GNU_UNIQUE), "f", DefinitionOnly), Some((0, 1)));
    for binding in [STB_LOCAL, 3, 13, 15] {
        assert_eq!(find(&with(binding), "f", DefinitionOnly), Some((1, 2)), "binding {binding}");
    }
}

#[test]
fn types_that_musl_does_not_know_are_passed_over() {
    let other = |kind| SymbolSpec { info: 1 << 4 | kind, ..function(1) };
    for kind in [STT_SECTION, 4, 7, 13, 15] {
        let program = program(&[&[other(kind)], &[function(2)]]);
        assert_eq!(find(&program, "f", DefinitionOnly), Some((1, 2)), "type {kind}");
    }
}

#[test]
fn a_reference_with_a_value_is_the_address_of_a_function() {
    let program = program(&[&[function(1).undefined()], &[function(2)]]);
    assert_eq!(find(&program, "f", AnyWithValue), Some((0, 1)));
    assert_eq!(find(&program, "f", DefinitionOnly), Some((1, 2)));
}

#[test]
fn a_reference_without_a_value_is_nothing() {
    let library = Library { hash: HashStyle::Sysv, ..Library::defining([function(0).undefined()]) };
    let mut program = Program::default();
    program.add(load(&library));
    assert_eq!(find(&program, "f", AnyWithValue), None);
    program.add(load(&Library::defining([function(2)])));
    assert_eq!(find(&program, "f", AnyWithValue), Some((1, 2)));
}

#[test]
fn a_definition_at_zero_is_nothing_unless_it_is_thread_local() {
    let zero = program(&[&[function(0)], &[function(2)]]);
    assert_eq!(find(&zero, "f", AnyWithValue), Some((1, 2)));
    let thread_local = program(&[&[SymbolSpec::thread_local("f")], &[function(2)]]);
    assert_eq!(find(&thread_local, "f", DefinitionOnly), Some((0, 0)));
}

#[test]
fn a_thread_local_reference_is_nothing_even_with_a_value() {
    let reference = SymbolSpec::thread_local("f").undefined().at(8);
    let program = program(&[&[reference], &[function(2)]]);
    assert_eq!(find(&program, "f", AnyWithValue), Some((1, 2)));
}

#[test]
fn hidden_versions_are_passed_over() {
    let program = program(&[&[function(1).hidden()], &[function(2)]]);
    assert_eq!(find(&program, "f", DefinitionOnly), Some((1, 2)));
}

#[test]
fn an_object_gives_one_answer_whether_or_not_it_is_acceptable() {
    // musl asks each object once: the second of two symbols with one name is never seen.
    let program = program(&[&[function(0), function(1)], &[function(2)]]);
    assert_eq!(find(&program, "f", DefinitionOnly), Some((1, 2)));
}

#[test]
fn indirect_functions_are_a_last_resort() {
    let indirect = SymbolSpec::indirect("f").at(1);
    let own = slice::from_ref(&indirect);
    let both = program(&[own, &[function(2)]]);
    assert_eq!(find(&both, "f", DefinitionOnly), Some((1, 2)));
    let alone = program(&[&[], own, &[indirect.clone().at(3)]]);
    assert_eq!(find(&alone, "f", DefinitionOnly), Some((1, 1)));
    for unusable in [indirect.clone().undefined(), indirect.clone().at(0), indirect.bound(STB_LOCAL)] {
        assert_eq!(find(&program(&[&[unusable]]), "f", AnyWithValue), None);
    }
}

/// A program and a libc, which defines these functions with their number in the list, from 1.
fn with_libc(symbols: &[SymbolSpec], libc: &[&str]) -> Program {
    let functions = libc.iter().zip(1..).map(|(name, value)| SymbolSpec::function(name).at(value));
    let mut program = program(&[symbols, &[]]);
    let mut object = load(&Library::defining(functions));
    object.origin = Origin::Libc;
    program.add(object);
    program
}

#[test]
fn names_of_the_large_file_interface_stand_for_libcs_plain_ones() {
    let program = with_libc(&[], &["fopen", "strlen", "readdir_r"]);
    assert_eq!(find(&program, "fopen64", DefinitionOnly), Some((2, 1)));
    assert_eq!(find(&program, "readdir64_r", AnyWithValue), Some((2, 3)));
    assert_eq!(find(&program, "strlen64", DefinitionOnly), None);
    assert_eq!(find(&program, "stat64", DefinitionOnly), None, "libc has no stat");
}

#[test]
fn the_plain_name_is_sought_in_libc_alone() {
    let own_plain = with_libc(&[SymbolSpec::function("fopen").at(9)], &["fopen"]);
    assert_eq!(find(&own_plain, "fopen64", DefinitionOnly), Some((2, 1)));
    let without_libc = program(&[&[SymbolSpec::function("fopen")]]);
    assert_eq!(find(&without_libc, "fopen64", DefinitionOnly), None);
}

#[test]
fn a_definition_of_the_large_file_name_itself_comes_first() {
    let program = with_libc(&[SymbolSpec::function("fopen64").at(9)], &["fopen"]);
    assert_eq!(find(&program, "fopen64", DefinitionOnly), Some((0, 9)));
}

#[test]
fn the_large_file_interface_comes_before_indirect_functions() {
    let program = with_libc(&[SymbolSpec::indirect("fopen64").at(9)], &["fopen"]);
    assert_eq!(find(&program, "fopen64", DefinitionOnly), Some((2, 1)));
}

#[test]
fn the_vdso_is_never_searched() {
    let mut program = program(&[&[], &[function(1)], &[function(2)]]);
    program[ObjectId(1)].origin = Origin::Vdso;
    assert_eq!(find(&program, "f", DefinitionOnly), Some((2, 2)));
}

#[test]
fn a_group_is_searched_in_its_own_order() {
    let program = program(&[&[function(1)], &[function(2)], &[SymbolSpec::indirect("f").at(3)]]);
    let found = |places: &[u32]| {
        Group::new(&program, ids(places)).find(&SymbolName::new(b"f"), DefinitionOnly).map(place)
    };
    assert_eq!(found(&[0, 1, 2]), Some((0, 1)));
    assert_eq!(found(&[2, 1, 0]), Some((1, 2)), "the indirect function is a last resort here, too");
    assert_eq!(found(&[2]), Some((2, 3)));
    assert_eq!(found(&[]), None);
}

#[test]
fn the_loader_stands_before_libc_wherever_that_is() {
    let mut program = program(&[&[], &[function(1)], &[function(2)]]);
    program[ObjectId(1)].origin = Origin::Loader;
    program[ObjectId(2)].origin = Origin::Libc;
    let found = |places: &[u32]| {
        Group::new(&program, ids(places)).find(&SymbolName::new(b"f"), DefinitionOnly).map(place)
    };
    assert_eq!(found(&[2]), Some((1, 1)));
    assert_eq!(found(&[0, 1]), None, "by itself it is nothing");
}

#[test]
fn what_comes_before_libc_hides_its_definitions() {
    let program = with_libc(&[SymbolSpec::function("malloc").at(9)], &["malloc", "free"]);
    let scope = Scope::new(&program);
    let found = |name: &[u8]| scope.find_before_libc(&SymbolName::new(name)).map(|found| found.symbol.value);
    assert_eq!(found(b"malloc"), Some(9));
    assert_eq!(found(b"free"), None);
}

#[test]
fn an_address_is_that_of_the_symbol_in_its_object() {
    let program = program(&[&[], &[function(0x40)]]);
    let group = Group::new(&program, program.ids());
    let found = group.find(&SymbolName::new(b"f"), DefinitionOnly).expect("it is defined");
    let start = program[found.object].mapping.pages.start;
    assert_eq!(found.address().0, start.0 + 0x40);
}

#[test]
fn a_libc_is_known_by_two_definitions() {
    let start_main = SymbolSpec::function("__libc_start_main");
    let stdin = SymbolSpec::object("stdin");
    let is_libc = |symbols: [SymbolSpec; 2]| is_a_libc(&load(&Library::defining(symbols)));
    assert!(is_libc([start_main.clone(), stdin.clone()]));
    assert!(!is_libc([start_main.clone(), stdin.clone().undefined()]), "a program with a copy of stdin");
    assert!(!is_libc([start_main.clone().undefined(), stdin]));
    assert!(definition_in(&load(&Library::defining([start_main])), b"stdin").is_none());
}
