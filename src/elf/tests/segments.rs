//! The program header table: bounds, overlaps, thread-local storage and what becomes read-only.

use core::ops::Range;
use std::vec::Vec;

use goblin::elf64::program_header::{
    PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_STACK, PT_LOAD, PT_TLS,
};

use super::builder::{program_header, words};
use crate::elf::{ElfError, PAGE_SIZE, SegmentFlags, Segments, Vaddr};

const RW: u32 = PF_R | PF_W;

fn load(flags: u32, range: Range<u64>, zeroes: u64) -> Vec<u8> {
    program_header(PT_LOAD, flags, range, zeroes, PAGE_SIZE)
}

/// A header whose fields are `p_offset`, `p_vaddr`, `p_paddr`, `p_filesz`, `p_memsz` and `p_align`.
fn raw(kind: u32, flags: u32, fields: [u64; 6]) -> Vec<u8> {
    [kind.to_le_bytes().to_vec(), flags.to_le_bytes().to_vec(), words(&fields)].concat()
}

fn parse(headers: &[Vec<u8>]) -> Result<Segments, ElfError> {
    let dynamic = program_header(PT_DYNAMIC, PF_R, 0x100..0x200, 0, 8);
    Segments::parse(&[headers.concat(), dynamic].concat())
}

fn error(headers: &[Vec<u8>]) -> Option<ElfError> {
    parse(headers).err()
}

#[test]
fn segments_need_something_to_load_and_a_dynamic_section() {
    assert_eq!(error(&[]), Some(ElfError::NothingToLoad));
    assert_eq!(error(&[load(PF_R, 0..0, 0)]), Some(ElfError::NothingToLoad), "an empty one is none");
    let only_load = Segments::parse(&load(PF_R, 0..0x1000, 0));
    assert_eq!(only_load.err(), Some(ElfError::NoDynamic));
}

#[test]
fn a_segment_may_end_anywhere_in_the_last_page_of_the_file() {
    let check =
        |end, size| parse(&[load(PF_R, 0..end, 0)]).and_then(|segments| segments.check_file_size(size));
    assert_eq!(check(0x2000, 0x1001), Ok(()));
    assert_eq!(check(0x2001, 0x1001), Err(ElfError::SegmentBeyondFile(0)));
    assert_eq!(check(0x2001, 0x2000), Err(ElfError::SegmentBeyondFile(0)));
    let only_zeroes = parse(&[raw(PT_LOAD, RW, [0x10000, 0, 0, 0, 0x1000, PAGE_SIZE])]);
    assert_eq!(only_zeroes.and_then(|segments| segments.check_file_size(0x10)), Ok(()));
}

#[test]
fn sizes_and_addresses_must_be_possible() {
    let bounds = Some(ElfError::SegmentBounds(0));
    let fields =
        |offset, vaddr, filesz, memsz| [raw(PT_LOAD, PF_R, [offset, vaddr, 0, filesz, memsz, PAGE_SIZE])];
    assert_eq!(error(&fields(0, 0, 0x20, 0x10)), bounds, "more in the file than in memory");
    assert_eq!(error(&fields(0, 0u64.wrapping_sub(PAGE_SIZE), 0x10, 2 * PAGE_SIZE)), bounds, "wraps");
    assert_eq!(error(&fields(0, 1 << 47, 0, 1)), bounds, "beyond the address space");
    assert_eq!(error(&fields(0, 0, 0, (1 << 47) + 1)), bounds);
    assert_eq!(error(&fields(0, 0, 0, 1 << 47)), None);
    assert_eq!(error(&fields(0u64.wrapping_sub(PAGE_SIZE), 0, PAGE_SIZE, PAGE_SIZE)), bounds);
    assert_eq!(error(&fields(0x1001, 0x1000, 1, 1)), Some(ElfError::SegmentMisaligned(0)));
    assert_eq!(error(&fields(0x1001, 0x7001, 1, 1)), None);
}

#[test]
fn alignments_that_are_none_count_as_a_page() {
    for (align, honoured) in
        [(0, 0x1000), (1, 0x1000), (0x1800, 0x1000), (0x1000, 0x1000), (0x10000, 0x10000)]
    {
        let segments = parse(&[raw(PT_LOAD, PF_R, [0, 0, 0, 1, 1, align])]).expect("any alignment will do");
        assert_eq!(segments.loads[0].align, honoured);
    }
}

#[test]
fn segments_may_share_a_page_but_no_byte() {
    assert_eq!(error(&[load(PF_R, 0..0x1800, 0), load(RW, 0x1800..0x2000, 0)]), None);
    let overlap = Some(ElfError::SegmentsOverlap);
    assert_eq!(error(&[load(PF_R, 0..0x1801, 0), load(RW, 0x1800..0x2000, 0)]), overlap);
    assert_eq!(error(&[load(PF_R, 0..0x3000, 0), load(RW, 0x1000..0x2000, 0)]), overlap);
    assert_eq!(
        error(&[load(RW, 0x1000..0x1800, 0x1000), load(RW, 0x2000..0x2100, 0)]),
        overlap,
        "zeroes count"
    );
    assert_eq!(error(&[load(RW, 0x1000..0x2000, 0), load(PF_R, 0..0x1801, 0)]), overlap, "in any order");
}

#[test]
fn no_segment_loses_the_right_to_write_its_own_bytes() {
    let overlap = Some(ElfError::SegmentsOverlap);
    let first = || load(PF_R, 0..0x800, 0);
    assert_eq!(error(&[first(), load(RW, 0x1000..0x1800, 0), load(PF_R, 0x1800..0x2000, 0)]), overlap);
    assert_eq!(
        error(&[first(), load(PF_R, 0x1800..0x2000, 0), load(RW, 0x1000..0x1800, 0)]),
        None,
        "mapped last"
    );
    assert_eq!(error(&[load(RW, 0..0x800, 0), load(PF_R, 0x800..0x1000, 0)]), None, "the first page stays");
    assert_eq!(error(&[first(), load(RW, 0x800..0x1000, 0)]), overlap, "the first page stays");
    assert_eq!(error(&[load(RW, 0..0x800, 0), load(RW, 0x800..0x1000, 0)]), None);
    assert_eq!(error(&[load(RW, 0..0x800, 0), load(PF_R, 0x1000..0x1800, 0)]), None);
}

#[test]
fn the_span_reaches_from_the_first_to_the_last_page() {
    let segments = parse(&[load(RW, 0x5800..0x6000, 0x1001), load(PF_R | PF_X, 0x1234..0x2000, 0)]);
    let segments = segments.expect("valid segments");
    assert_eq!(segments.span(), Vaddr(0x1000)..Vaddr(0x8000));
    assert!(segments.is_code(Vaddr(0x1234)) && segments.is_code(Vaddr(0x1fff)));
    for data in [0x1233, 0x2000, 0x5800] {
        assert!(!segments.is_code(Vaddr(data)));
    }
    assert!(segments.containing(&(Vaddr(0x5800)..Vaddr(0x7001))).is_some());
    assert!(segments.containing(&(Vaddr(0x5800)..Vaddr(0x7002))).is_none());
    assert_eq!(segments.loads[0].flags, SegmentFlags::READ | SegmentFlags::WRITE);
}

#[test]
fn program_headers_are_found_in_the_segment_that_holds_them_all() {
    let header = raw(PT_LOAD, PF_R, [0x1000, 0x8000, 0, 0x800, 0x1000, PAGE_SIZE]);
    let segments = parse(&[header]).expect("valid segments");
    assert_eq!(segments.program_headers(&(0x1040..0x1100)), Some(Vaddr(0x8040)));
    assert_eq!(segments.program_headers(&(0x1000..0x1800)), Some(Vaddr(0x8000)));
    assert_eq!(segments.program_headers(&(0x40..0x100)), None);
    assert_eq!(segments.program_headers(&(0x1700..0x1801)), None, "its end is not in the file");
}

fn tls(vaddr: u64, filesz: u64, memsz: u64, align: u64) -> Result<Option<(u64, u64)>, ElfError> {
    let segment = raw(PT_TLS, PF_R, [vaddr, vaddr, 0, filesz, memsz, align]);
    parse(&[load(PF_R, 0..0x1000, 0), segment]).map(|segments| segments.tls.map(|tls| (tls.memsz, tls.align)))
}

#[test]
fn thread_local_alignments_are_powers_of_two_within_reason() {
    assert_eq!(tls(0x100, 8, 16, 16), Ok(Some((16, 16))));
    assert_eq!(tls(0x100, 8, 16, 0), Ok(Some((16, 1))));
    assert_eq!(tls(0x100, 8, 16, 1 << 24), Ok(Some((16, 1 << 24))));
    for align in [3, 24, (1 << 24) + 1, 1 << 25, 1 << 63, u64::MAX] {
        assert_eq!(tls(0x100, 8, 16, align), Err(ElfError::TlsAlignment(align)));
    }
}

#[test]
fn thread_local_storage_must_be_within_a_segment() {
    assert_eq!(tls(0xff8, 8, 16, 8), Ok(Some((16, 8))));
    assert_eq!(tls(0xff9, 8, 16, 8), Err(ElfError::TlsBounds));
    assert_eq!(tls(u64::MAX - 3, 8, 16, 8), Err(ElfError::TlsBounds));
    assert_eq!(tls(0x100, 17, 16, 8), Err(ElfError::TlsBounds));
    assert_eq!(tls(0x100, 0, (1 << 47) + 1, 8), Err(ElfError::TlsBounds));
    assert_eq!(tls(u64::MAX, 0, 16, 8), Ok(Some((16, 8))), "nothing is read from there");
    assert_eq!(tls(0x100, 0, 0, 3), Ok(None));
}

fn relro(range: Range<u64>) -> Result<Option<Range<u64>>, ElfError> {
    let segments = [
        load(PF_R, 0..0x1000, 0),
        load(RW, 0x3100..0x6000, 0),
        raw(PT_GNU_RELRO, PF_R, [range.start, range.start, 0, 0, range.end.wrapping_sub(range.start), 1]),
    ];
    parse(&segments).map(|segments| segments.relro.map(|relro| relro.start.0..relro.end.0))
}

#[test]
fn both_ends_of_relro_are_rounded_down() {
    assert_eq!(relro(0x3100..0x5000), Ok(Some(0x3000..0x5000)));
    assert_eq!(relro(0x3100..0x5fff), Ok(Some(0x3000..0x5000)));
    assert_eq!(relro(0x3100..0x6000), Ok(Some(0x3000..0x6000)));
}

#[test]
fn a_relro_of_less_than_a_page_protects_nothing() {
    let nothing = |range| relro(range).map(|relro| relro.is_none_or(|relro| relro.is_empty()));
    assert_eq!(nothing(0x3100..0x3f00), Ok(true));
    assert_eq!(nothing(0x100..0x200), Ok(true), "wherever it is");
}

#[test]
fn relro_must_be_writable_before() {
    assert_eq!(relro(0..0x1000), Err(ElfError::RelroBounds));
    assert_eq!(relro(0x2000..0x5000), Err(ElfError::RelroBounds));
    assert_eq!(relro(0x3000..0x7000), Err(ElfError::RelroBounds));
}

#[test]
fn the_last_of_several_special_headers_counts() {
    let headers = [
        load(RW, 0..0x4000, 0),
        program_header(PT_DYNAMIC, PF_R, 0..16, 0, 8),
        program_header(PT_TLS, PF_R, 0..8, 0, 8),
        program_header(PT_TLS, PF_R, 16..32, 0, 8),
        program_header(PT_GNU_RELRO, PF_R, 0..0x1000, 0, 8),
        program_header(PT_GNU_RELRO, PF_R, 0..0x2000, 0, 8),
    ];
    let segments = parse(&headers).expect("valid segments");
    assert_eq!(segments.dynamic, Some(Vaddr(0x100)));
    assert_eq!(segments.tls.map(|tls| tls.vaddr), Some(Vaddr(16)));
    assert_eq!(segments.relro, Some(Vaddr(0)..Vaddr(0x2000)));
}

#[test]
fn the_largest_stack_size_counts() {
    let stack = |size| program_header(PT_GNU_STACK, RW, 0..0, size, 16);
    let segments = parse(&[load(PF_R, 0..0x1000, 0), stack(0x100), stack(0x4000), stack(0x200)]);
    assert_eq!(segments.expect("valid segments").stack_size, 0x4000);
}
