use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::check::{Refusal, mark_neighbours, preloads_others};
use super::format::*;
use super::references::References;
use super::{BASE_ALIGN, base_at, file_name, portable_name};
use crate::elf::{Relocation, Summary, SymbolName, Vaddr};
use crate::program::TlsPlacement;
use crate::sys::{FileIdentity, FileStamp, MemoryFlags};

const STAMP: FileStamp =
    FileStamp { identity: FileIdentity { device: 1, inode: 2 }, size: 3, modified: 4, changed: 5 };

fn list<R>(values: Vec<R>) -> List<'static, R> {
    List::Values(values.leak())
}

fn all<'a, R: Record<'a> + Clone>(records: &List<'a, R>) -> Vec<R> {
    records.iter().collect()
}

/// Tables with something in every field.
fn tables() -> Tables<'static> {
    let key = Key {
        library_path: Some(c"/a:/b"),
        preload: None,
        libc: Some(c"/libc.so"),
        origin: Some(c"/bin/prog"),
        passes: Some(c"none"),
        program: STAMP,
        fingerprint: 6,
    };
    let binding = Binding { object: 1, value: 7, size: 8, info: 0x12, section: 9 };
    let member = Member {
        role: Role::Library,
        name: c"/lib/liba.so",
        identity: Some(STAMP.identity),
        has_short_name: true,
        needed_by: Some(0),
        dependencies: Numbers::of(&[1, 0, 0, 0, 0, 0, 0, 0]),
        tls: Some(TlsPlacement { module: 1, offset: Some(16) }),
        place: 0x1000,
        span: 0x1000..0x9000,
        entry: 0x1234,
        headers: Some((64, 7)),
        summary: Summary {
            dynamic_section: Vaddr(0x8000),
            stack_size: 14,
            has_tls: true,
            has_initialisation: true,
        },
        details: Some(WindowPart { start: 0x7000, size: 15, checksum: 16 }),
        sealed: true,
        linked_dynamic: Some(0x3de0),
        code_shift: 0x2000_0000,
        idle_constructors: true,
        idle_destructors: true,
    };
    let program = Member {
        role: Role::Program,
        identity: None,
        tls: None,
        headers: None,
        summary: Summary::default(),
        details: None,
        ..member.clone()
    };
    let region =
        |source| Region { pages: 0x1000..0x2000, access: MemoryFlags::READ | MemoryFlags::EXECUTE, source };
    let relocation = Relocation { slot: Vaddr(0x3000), kind: 6, symbol: 10, addend: Some(11) };
    Tables {
        key,
        inputs: list(vec![
            Input { path: c"/lib/liba.so", stamp: Some(STAMP), has_neighbours: true },
            Input { path: c"/early/liba.so", stamp: None, has_neighbours: false },
        ]),
        members: list(vec![program, member]),
        parts_moved: true,
        initialisation: Numbers::of(&[1, 0, 0, 0, 0, 0, 0, 0]),
        windows: list(vec![FarWindow {
            pages: 0x4000_0000..0x4000_2000,
            offset: 0x5000,
            access: MemoryFlags::READ,
        }]),
        regions: list(vec![
            region(Source::Window),
            region(Source::File(0x6000)),
            region(Source::Written(0x7000)),
            region(Source::Zero),
        ]),
        sealed: list(vec![0x2000..0x3000, 0x4000_0000..0x4000_1000]),
        huge: list(vec![0x20_0000..0x40_0000, 0x60_0000..0x80_0000]),
        late: list(vec![LateRelocation { object: 1, relocation, binding: Some(binding) }]),
        interposed: list(vec![Interposed { name: b"malloc", binding }]),
        rewritten: Some(Aside { offset: 0x8000, size: 100, checksum: 12 }),
        index: Some(WindowPart { start: 0x8000, size: 12, checksum: 13 }),
        digests: list(vec![[1; 32], [2; 32]]),
        populate: list(vec![
            Populate { pages: 0x1000..0x5000, write: false },
            Populate { pages: 0x6000..0x8000, write: true },
        ]),
        rebase: &[0x3000, 0b1011],
    }
}

fn bytes() -> Vec<u8> {
    tables().to_bytes().concat()
}

/// The bytes as they lie in an image: aligned.
fn parse(bytes: &[u8], check: impl FnOnce(Option<Box<Tables<'_>>>)) {
    aligned(bytes, |bytes| check(Tables::parse(bytes)));
}

fn aligned(bytes: &[u8], check: impl FnOnce(&[u8])) {
    const WORD: usize = size_of::<u64>();
    let mut memory = vec![0; bytes.len() + WORD];
    let start = memory.as_ptr().align_offset(WORD);
    let aligned = &mut memory[start..start + bytes.len()];
    aligned.copy_from_slice(bytes);
    check(aligned);
}

#[test]
fn tables_are_read_as_they_were_written() {
    parse(&bytes(), |read| {
        let (read, written) = (read.expect("sound tables"), tables());
        assert_eq!((read.key, read.rebase), (written.key, written.rebase));
        assert_eq!((read.inputs, read.members), (written.inputs, written.members));
        assert_eq!((read.parts_moved, read.initialisation), (written.parts_moved, written.initialisation));
        assert_eq!((read.interposed, read.windows), (written.interposed, written.windows));
        assert_eq!((read.regions, read.sealed), (written.regions, written.sealed));
        assert_eq!((read.huge, read.digests), (written.huge, written.digests));
        assert_eq!((read.rewritten, read.index), (written.rewritten, written.index));
        assert_eq!(read.populate, written.populate);
        let (read, written) = (all(&read.late), all(&written.late));
        assert_eq!((read.len(), read[0].binding), (written.len(), written[0].binding));
        assert_eq!(read[0].relocation.addend, Some(11));
    });
}

#[test]
fn more_records_than_there_is_room_for_are_none() {
    let bytes = |count: u64| [count.to_le_bytes(), [0; 8], [0; 8]].concat();
    let list = |bytes: &[u8]| Reader::new(bytes).unchecked_list::<Input<'_>>().map(|list| list.len());
    assert_eq!(list(&bytes(2)), Some(2));
    assert_eq!(list(&bytes(3)), None);
    assert_eq!(list(&bytes(u64::MAX)), None);
}

#[test]
fn rewritten_libraries_are_read_as_they_were_written() {
    let region = tables().regions.iter().next().expect("there are regions");
    let original = list(vec![Region { source: Source::File(0x9000), ..region }]);
    let symbols = list(vec![&b"malloc"[..], b"free"]);
    let written = list(vec![Rewritten { object: 1, symbols, original }]);
    let mut to = Writer::default();
    to.list(&written);
    let mut bytes = to.finish();
    let aside = Aside { offset: 0, size: bytes.len() as u64, checksum: checksum(&[&bytes]) };
    assert_eq!(aside.list::<Rewritten<'_>>(&bytes).expect("a sound list"), written);
    bytes[20] ^= 1;
    assert!(aside.list::<Rewritten<'_>>(&bytes).is_none());
}

#[test]
fn details_are_read_as_they_were_written() {
    let header_table = &[1, 2, 3];
    let written = [
        Details {
            header_table,
            dynamic: &[4; 16],
            gnu_hash: Some([1, 2, 3, 4]),
            arrays: Some((5, &[6; 24])),
        },
        Details { header_table, dynamic: &[], gnu_hash: None, arrays: None },
    ];
    for details in written {
        let mut bytes = details.to_bytes();
        let part = WindowPart::of(8, &bytes);
        assert_eq!(part.checked(&bytes).and_then(Details::parse), Some(details));
        bytes[3] ^= 1;
        assert!(part.checked(&bytes).is_none());
    }
}

#[test]
fn a_header_is_read_as_it_was_written() {
    let header = Header {
        version: VERSION,
        loader: [7; 20],
        base: 0x1000_0000_0000,
        window: 0x5000,
        programs: 2,
        watch: Watch::MAIN,
        checksum: 0,
    };
    let entry = |inode| ProgramEntry {
        program: FileIdentity { device: 1, inode },
        tables: 0x4000,
        size: 100,
        checksum: 99,
    };
    let bytes = header.to_bytes(&[entry(1), entry(2)]);
    let read = Header::parse(&bytes).expect("a header");
    assert_eq!(Header { checksum: 0, ..read }, header);
    let entries: Vec<ProgramEntry> = read.entries(&bytes).expect("sound entries").collect();
    assert_eq!(entries, [entry(1), entry(2)]);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let sound = Header::parse(&damaged).is_some_and(|header| header.entries(&damaged).is_some());
        assert!(!sound, "byte {at}");
        let cut = Header::parse(&bytes[..at]);
        assert!(cut.is_none_or(|header| header.entries(&bytes[..at]).is_none()), "up to {at}");
    }
}

#[test]
fn an_image_serves_only_so_many_programs() {
    let header = Header {
        version: VERSION,
        loader: [7; 20],
        base: 0,
        window: 0,
        programs: u64::MAX,
        watch: Watch::empty(),
        checksum: 0,
    };
    let bytes = header.to_bytes(&[]);
    assert!(Header::parse(&bytes).expect("a header").entries(&bytes).is_none());
    const { assert!(MAX_PROGRAMS > 90) };
}

#[test]
fn objects_that_are_not_there_are_refused() {
    let mut tables = tables();
    tables.members = list(tables.members.iter().take(1).collect());
    parse(&tables.to_bytes().concat(), |read| assert!(read.is_none()));
}

#[test]
fn other_preloads_need_an_index() {
    let preloads = |change: fn(&mut Tables<'static>), now| {
        let mut tables = tables();
        change(&mut tables);
        preloads_others(&tables, now)
    };
    assert_eq!(preloads(|_| {}, None), Ok(false));
    assert_eq!(preloads(|_| {}, Some(c" :")), Ok(false));
    assert_eq!(preloads(|_| {}, Some(c"x")), Ok(true));
    assert_eq!(preloads(|tables| tables.key.preload = Some(c"x:y"), Some(c"x y")), Ok(false));
    assert_eq!(preloads(|tables| tables.key.preload = Some(c"x"), Some(c"x:y")), Ok(true));
    let why = Err(Refusal::Key("LD_PRELOAD"));
    assert_eq!(preloads(|tables| tables.key.preload = Some(c"x"), None), why);
    assert_eq!(preloads(|tables| tables.index = None, Some(c"x")), why);
}

#[test]
fn references_are_found_by_hash_value() {
    let name = SymbolName::new(b"name");
    let hash = name.gnu_hash();
    let words = [[hash - 1, 1, 2], [hash, 1, 7], [hash, 3, 0], [hash + 1, 0, 0]];
    let bytes = |words: &[[u32; 3]]| {
        words.as_flattened().iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>()
    };
    aligned(&bytes(&words), |bytes| {
        let references = References::parse(bytes).expect("an index");
        assert_eq!(references.candidates(&name).collect::<Vec<_>>(), [(1, 7), (3, 0)]);
        assert_eq!(references.candidates(&SymbolName::new(b"other")).count(), 0);
        assert!(References::parse(&bytes[..8]).is_none());
    });
}

#[test]
fn a_directory_is_opened_for_many_files_only() {
    let input = |path| Input { path, stamp: None, has_neighbours: false };
    let mut inputs =
        [vec![input(c"/few/a"); 9], vec![input(c"/many/a"); 10], vec![input(c"/one"); 1]].concat();
    mark_neighbours(&mut inputs);
    let marked = inputs.iter().enumerate().filter(|(_, input)| input.has_neighbours);
    assert_eq!(marked.map(|(at, input)| (at, input.path)).collect::<Vec<_>>(), [(9, c"/many/a")]);
}

#[test]
fn bases_are_aligned_and_apart_from_the_kernel() {
    for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
        let base = base_at(random);
        assert_eq!(base % BASE_ALIGN, 0);
        assert!((0x1000_0000_0000..0x5000_0000_0000).contains(&base));
    }
}

#[test]
fn programs_have_images_of_their_own_names() {
    assert_eq!(file_name(FileIdentity { device: 0xfe00, inode: 0x1f }), "fe00-1f");
    let extremes = FileIdentity { device: 0, inode: u64::MAX };
    assert_eq!(file_name(extremes), "0-ffffffffffffffff");
    assert_eq!(file_name(FileIdentity { device: 0x10, inode: 0xf }), "10-f");
    assert_eq!(portable_name(b"/usr/bin/100%"), b"%2Fusr%2Fbin%2F100%25");
}

proptest! {
    #[test]
    fn every_flipped_bit_changes_the_checksum(at in 0..bytes().len(), bit in 0..8) {
        let sound = bytes();
        let mut damaged = sound.clone();
        damaged[at] ^= 1_u8 << bit;
        prop_assert_ne!(checksum(&[&sound]), checksum(&[&damaged]));
    }

    #[test]
    fn damaged_tables_are_read_without_a_panic(changes in prop::collection::vec((0..bytes().len(), any::<u8>()), 1..8), length in 0..=bytes().len()) {
        let mut damaged = bytes();
        for (at, byte) in changes {
            damaged[at] = byte;
        }
        parse(&damaged[..length], |_| {});
    }
}
