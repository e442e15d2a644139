//! Symbol names: however a name lies in memory, it is read as it stands there and has the hash values of the definitions.

use core::iter;
use std::vec;
use std::vec::Vec;

use proptest::collection::vec as vector;
use proptest::prelude::*;

use super::builder::{gnu_hash, sysv_hash};
use crate::elf::SymbolName;

/// A name without a zero. Bytes that look like zero to arithmetic which forgets a carry are frequent.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 1..=u8::MAX, 1 => Just(1), 1 => Just(0x80), 1 => Just(0x81), 1 => Just(0xff)];
    vector(byte, 0..=40)
}

/// A string table that begins `shift` bytes behind a boundary of eight, amid other things: a name, and the rest.
fn with_table<T>(shift: usize, name: &[u8], rest: &[u8], use_table: impl FnOnce(&[u8]) -> T) -> T {
    let size = name.len() + rest.len();
    let mut memory = vec![b'x'; size + 32];
    let start = memory.as_ptr().align_offset(8) + shift;
    let table = &mut memory[start..start + size];
    let (head, tail) = table.split_at_mut(name.len());
    head.copy_from_slice(name);
    tail.copy_from_slice(rest);
    use_table(table)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_name_is_read_up_to_its_end_wherever_it_lies(name in name(), rest in vector(any::<u8>(), 0..=20)) {
        let rest: Vec<u8> = iter::once(0).chain(rest).collect();
        for shift in 0..8 {
            let read = with_table(shift, &name, &rest, |table| {
                SymbolName::read(table).map(|read| (read.bytes().to_vec(), read.gnu_hash()))
            });
            prop_assert_eq!(read, Some((name.clone(), gnu_hash(&name))));
        }
    }

    #[test]
    fn a_name_at_the_very_end_of_the_table_is_read_only_with_its_end(name in name()) {
        for shift in 0..8 {
            let read = |rest: &[u8]| with_table(shift, &name, rest, |table| {
                SymbolName::read(table).map(|read| (read.bytes().to_vec(), read.gnu_hash()))
            });
            prop_assert_eq!(read(&[0]), Some((name.clone(), gnu_hash(&name))));
            prop_assert_eq!(read(&[]), None);
        }
    }

    #[test]
    fn hash_values_are_those_of_the_definitions(name in name()) {
        for shift in 0..8 {
            let hashes = with_table(shift, &name, &[], |table| {
                let name = SymbolName::new(table);
                (name.gnu_hash(), name.sysv_hash())
            });
            prop_assert_eq!(hashes, (gnu_hash(&name), sysv_hash(&name)));
        }
    }

    #[test]
    fn a_name_is_where_it_stands_with_its_end(name in name(), other in name()) {
        for shift in 0..8 {
            with_table(shift, &name, &[0, 1], |table| assert!(SymbolName::new(&name).is_at(table)));
            with_table(shift, &name, &[1], |table| assert!(!SymbolName::new(&name).is_at(table)));
            with_table(shift, &other, &[0], |table| assert_eq!(SymbolName::new(&name).is_at(table), name == other));
        }
    }
}
