//! The file header, the dynamic section and the compact relocations: which entry counts, and what is refused.

use std::vec;
use std::vec::Vec;

use goblin::elf64::dynamic::{
    DF_TEXTREL, DT_DEBUG, DT_FINI, DT_FINI_ARRAYSZ, DT_FLAGS, DT_GNU_HASH, DT_INIT, DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ, DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RPATH,
    DT_RUNPATH, DT_STRTAB, DT_TEXTREL, DT_VERSYM,
};
use proptest::prelude::*;

use super::builder::{CODE, HashStyle, Library, words};
use super::drive::{Pages, drive};
use crate::elf::{Dynamic, ElfError, FileHeader, RelocationTable, RelrSlots, Table, Vaddr, View};

const SECTION: Vaddr = Vaddr(0x1000);

fn parse(entries: &[[u64; 2]]) -> Result<Dynamic, ElfError> {
    let pages = Pages::new(&words(entries.as_flattened()), 0);
    Dynamic::parse(&View::new(vec![(SECTION, pages.bytes())]), SECTION)
}

fn parsed(entries: &[[u64; 2]]) -> Dynamic {
    parse(&[entries, &[[DT_NULL, 0]]].concat()).expect("the section has an end")
}

/// A library's header with the bytes at an offset replaced.
fn header_with(offset: usize, bytes: &[u8]) -> Result<(), ElfError> {
    let mut file = Library::default().build().bytes;
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    FileHeader::parse(&file).map(|_| ())
}

#[test]
fn the_header_says_what_kind_of_file_it_is() {
    assert_eq!(header_with(0, b"\x7fELF"), Ok(()));
    assert_eq!(header_with(0, b"#!/b"), Err(ElfError::NotElf));
    assert_eq!(header_with(4, &[1]), Err(ElfError::Not64Bit));
    assert_eq!(header_with(5, &[2]), Err(ElfError::NotLittleEndian));
    assert_eq!(header_with(16, &[1, 0]), Err(ElfError::NotLoadable));
    assert_eq!(header_with(18, &[183, 0]), Err(ElfError::WrongMachine(183)));
    assert_eq!(header_with(54, &[32, 0]), Err(ElfError::ProgramHeaderSize(32)));
}

#[test]
fn the_size_of_program_headers_does_not_matter_if_there_are_none() {
    assert_eq!(header_with(54, &[0, 0, 0, 0]), Ok(()));
}

#[test]
fn a_program_header_table_that_wraps_is_refused() {
    let mut file = Library::default().build().bytes;
    file[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    let header = FileHeader::parse(&file).expect("the header itself is in order");
    assert_eq!(header.program_headers(), Err(ElfError::Truncated));
}

#[test]
fn a_file_shorter_than_its_headers_is_truncated() {
    let file = Library::default().build().bytes;
    for length in [0, 1, 63, 64, 100] {
        assert_eq!(drive(&file[..length]), Err(ElfError::Truncated));
    }
}

#[test]
fn the_last_entry_of_a_tag_counts() {
    let dynamic = parsed(&[[DT_STRTAB, 1], [DT_INIT, 2], [DT_STRTAB, 3], [DT_INIT, 4]]);
    assert_eq!(dynamic.strtab, Some(Vaddr(3)));
    assert_eq!(dynamic.init, Some(Vaddr(4)));
}

#[test]
fn the_first_entry_counts_for_what_musl_searches() {
    let entries = [[DT_GNU_HASH, 1], [DT_VERSYM, 2], [DT_GNU_HASH, 3], [DT_VERSYM, 4]];
    let dynamic = parsed(&entries);
    assert_eq!(dynamic.gnu_hash, Some(Vaddr(1)));
    assert_eq!(dynamic.versym, Some(Vaddr(2)));
}

#[test]
fn every_needed_entry_counts_in_order() {
    assert_eq!(
        parsed(&[[DT_NEEDED, 7], [DT_STRTAB, 1], [DT_NEEDED, 3], [DT_NEEDED, 7]]).needed.as_slice(),
        [7, 3, 7]
    );
}

#[test]
fn runpath_comes_before_rpath_wherever_it_stands() {
    assert_eq!(parsed(&[[DT_RPATH, 1], [DT_RUNPATH, 2]]).search_path, Some(2));
    assert_eq!(parsed(&[[DT_RUNPATH, 2], [DT_RPATH, 1]]).search_path, Some(2));
    assert_eq!(parsed(&[[DT_RPATH, 1], [DT_RPATH, 3]]).search_path, Some(3));
    assert_eq!(parsed(&[]).search_path, None);
}

#[test]
fn constructors_at_address_zero_are_none() {
    let dynamic = parsed(&[[DT_INIT, 5], [DT_INIT, 0], [DT_FINI, 0]]);
    assert_eq!((dynamic.init, dynamic.fini), (None, None));
}

#[test]
fn constructors_of_which_only_the_size_is_told_are_none() {
    let sizes = parsed(&[[DT_INIT_ARRAYSZ, 8], [DT_FINI_ARRAYSZ, 8]]);
    assert_eq!((sizes.init_array, sizes.fini_array), (Table::default(), Table::default()));
    assert!(Dynamic::reads(DT_INIT_ARRAYSZ) && Dynamic::reads(DT_FINI_ARRAYSZ));
}

#[test]
fn text_relocations_are_announced_in_either_way() {
    assert!(parsed(&[[DT_TEXTREL, 0]]).text_relocations);
    assert!(parsed(&[[DT_FLAGS, DF_TEXTREL]]).text_relocations);
    assert!(!parsed(&[[DT_FLAGS, !DF_TEXTREL]]).text_relocations);
}

#[test]
fn the_debug_entry_is_known_by_its_place() {
    assert_eq!(parsed(&[[DT_NEEDED, 1], [DT_DEBUG, 0]]).debug, Some(Vaddr(SECTION.0 + 16 + 8)));
}

#[test]
fn entries_behind_the_end_do_not_count() {
    let dynamic = parsed(&[[DT_NEEDED, 1], [DT_NULL, 0], [DT_NEEDED, 2], [DT_STRTAB, 3]]);
    assert_eq!(dynamic.needed.as_slice(), [1]);
    assert_eq!(dynamic.strtab, None);
}

#[test]
fn a_dynamic_section_without_an_end_is_refused() {
    assert!(matches!(parse(&[[DT_NEEDED, 1], [DT_STRTAB, 2]]), Err(ElfError::BadTable(_))));
}

#[test]
fn a_dynamic_section_outside_the_object_is_refused() {
    let pages = Pages::new(&words(&[0; 4]), 0);
    let view = View::new(vec![(SECTION, pages.bytes())]);
    for vaddr in [0, SECTION.0 - 1, SECTION.0 + 32, SECTION.0 + 4, u64::MAX] {
        assert!(matches!(Dynamic::parse(&view, Vaddr(vaddr)), Err(ElfError::BadTable(_))), "{vaddr:#x}");
    }
}

#[test]
fn the_kind_of_the_plt_relocations_is_what_is_said_last() {
    let entries = [[DT_JMPREL, SECTION.0], [DT_PLTRELSZ, 48], [DT_PLTREL, DT_RELA]];
    assert!(parsed(&entries).jmprel_has_addends);
    assert!(!parsed(&[&entries[..], &[[DT_PLTREL, DT_REL]]].concat()).jmprel_has_addends);
    let dynamic = parsed(&entries);
    assert_eq!((dynamic.jmprel.vaddr, dynamic.jmprel.size), (SECTION, 48));
}

fn initialisation_with(entries: &[[u64; 2]]) -> Result<(), ElfError> {
    let dynamic = entries.to_vec();
    let library = Library { dynamic, ..Library::default() };
    super::object::load(&library, c"lib", crate::sys::FileIdentity { device: 0, inode: 0 }).map(|_| ())
}

#[test]
fn constructors_must_be_code() {
    let built = Library::default().build();
    assert_eq!(initialisation_with(&[[DT_INIT, CODE], [DT_FINI, CODE]]), Ok(()));
    assert_eq!(initialisation_with(&[[DT_INIT, built.data]]), Err(ElfError::NotCode("DT_INIT")));
    assert_eq!(initialisation_with(&[[DT_FINI, u64::MAX]]), Err(ElfError::NotCode("DT_FINI")));
}

#[test]
fn tables_of_constructors_must_be_in_the_object() {
    let spoilt = |[tag, value]: [u64; 2]| {
        let mut built = Library::default().build();
        let section = built.dynamic.start as usize..built.dynamic.end as usize;
        let entry = built.bytes[section]
            .chunks_exact_mut(16)
            .find(|entry| entry[..8] == tag.to_le_bytes())
            .expect("the builder writes such an entry");
        entry[8..].copy_from_slice(&value.to_le_bytes());
        let pages = Pages::new(&built.bytes, built.memory_size as usize);
        let view = View::new(vec![(Vaddr(0), pages.bytes())]);
        let dynamic = Dynamic::parse(&view, Vaddr(built.dynamic.start)).expect("it still has an end");
        dynamic.check_initialisation(&view, &crate::elf::Segments::default())
    };
    let bad = Err(ElfError::BadTable("DT_INIT_ARRAY"));
    assert_eq!(spoilt([DT_INIT_ARRAY, 0x1000]), Ok(()));
    assert_eq!(spoilt([DT_INIT_ARRAY, 1 << 40]), bad);
    assert_eq!(spoilt([DT_INIT_ARRAYSZ, 1 << 40]), bad);
    assert_eq!(spoilt([DT_INIT_ARRAYSZ, 0]), Ok(()));
}

#[test]
fn relocations_have_their_addends_in_the_entry_or_none() {
    let pages = Pages::new(&words(&[0x10, 5 << 32 | 6, 7, 0x20, 8, u64::MAX]), 0);
    let view = View::new(vec![(SECTION, pages.bytes())]);
    let entries = |size, has_addends| {
        let mut entries = Vec::new();
        let table = Table { vaddr: SECTION, size };
        RelocationTable::parse(&view, table, has_addends, "table")?
            .for_each(|entry| entries.push((entry.slot.0, entry.symbol, entry.kind, entry.addend)));
        Ok(entries)
    };
    assert_eq!(entries(48, true), Ok(vec![(0x10, 5, 6, Some(7)), (0x20, 0, 8, Some(u64::MAX))]));
    assert_eq!(entries(16, false), Ok(vec![(0x10, 5, 6, None)]));
    assert_eq!(entries(47, true).map(|entries| entries.len()), Ok(1), "a fraction of an entry is ignored");
    assert_eq!(entries(0, true), Ok(vec![]));
    assert_eq!(entries(49, true), Err(ElfError::BadTable("table")));
    assert_eq!(entries(u64::MAX, false), Err(ElfError::BadTable("table")));
}

/// The decoder of the gABI draft, word for word.
fn relr_model(words: &[u64]) -> Vec<u64> {
    let mut slots = Vec::new();
    let mut base = 0_u64;
    for &word in words {
        if word & 1 == 0 {
            slots.push(word);
            base = word.wrapping_add(8);
        } else {
            let set = (0..63).filter(|bit| word >> (bit + 1) & 1 == 1);
            slots.extend(set.map(|bit| base.wrapping_add(8 * bit)));
            base = base.wrapping_add(8 * 63);
        }
    }
    slots
}

/// An encoder as link editors have it: an address, then bitmaps as long as they reach the next one.
fn relr_encode(slots: &[u64]) -> Vec<u64> {
    let mut words = Vec::new();
    let mut rest = slots.iter().copied().peekable();
    while let Some(slot) = rest.next() {
        words.push(slot);
        let mut base = slot + 8;
        loop {
            let mut bitmap = 0;
            while let Some(next) = rest.next_if(|&next| next < base + 8 * 63) {
                bitmap |= 1 << ((next - base) / 8);
            }
            if bitmap == 0 {
                break;
            }
            words.push(bitmap << 1 | 1);
            base += 8 * 63;
        }
    }
    words
}

fn relr_decode(words: &[u64]) -> Vec<u64> {
    RelrSlots::new(words).map(|slot| slot.0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compact_relocations_decode_as_the_gabi_says(words in proptest::collection::vec(any::<u64>(), 0..20)) {
        prop_assert_eq!(relr_decode(&words), relr_model(&words));
    }

    #[test]
    fn compact_relocations_survive_encoding(slots in proptest::collection::btree_set(0..2000_u64, 0..300)) {
        let slots: Vec<u64> = slots.into_iter().map(|slot| 0x4000 + 8 * slot).collect();
        prop_assert_eq!(relr_decode(&relr_encode(&slots)), slots);
    }
}

#[test]
fn a_view_ends_where_its_parts_end() {
    let pages = Pages::new(&[1, 2, 3, 4], 0);
    let view = View::new(vec![(Vaddr(0x1000), pages.bytes()), (Vaddr(0x1004), &[])]);
    assert_eq!(view.from(Vaddr(0x1002)), Some(&[3, 4][..]));
    assert_eq!(view.bytes(Vaddr(0x1003), 1), Some(&[4][..]));
    assert_eq!(view.bytes(Vaddr(0x1003), 2), None);
    assert_eq!(view.bytes(Vaddr(0x1001), u64::MAX), None);
    for outside in [0, 0xfff, 0x1004, u64::MAX] {
        assert_eq!(view.from(Vaddr(outside)), None);
    }
}

#[test]
fn misaligned_tables_are_refused() {
    let built = Library::complete(HashStyle::Gnu).build();
    let pages = Pages::new(&built.bytes, 0);
    let view = View::new(vec![(Vaddr(0), pages.bytes())]);
    assert!(view.table::<u64>(Vaddr(8), 8, "table").is_ok());
    assert_eq!(view.table::<u64>(Vaddr(9), 8, "table"), Err(ElfError::BadTable("table")));
    assert_eq!(view.table_from::<u32>(Vaddr(10), "table"), Err(ElfError::BadTable("table")));
}
