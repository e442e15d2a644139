//! Code that moves away from read-only data: jump tables are found whole, what else may be a distance is refused, and the verifier sees
//! every kind of wrong change.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::code::{CXX, check_with, checked_sections, library, read};
use common::{folder, run};
use ld_morsel::elf::Vaddr;
use morselctl::code::Code;
use morselctl::code::moves::{self, Unit};
use morselctl::elf_file::ElfFile;
use morselctl::separate::{Separable, Shape};

/// Switches of all kinds: in a loop, without a default, on a byte in memory, within each other; and a computed goto.
const SWITCHES: &str = r#"
int calls;
__attribute__((noinline)) int called(int x) { return calls += x; }
int plain(int x) { switch (x) { case 3: return called(x); case 4: return 40; case 5: return called(7); case 6: return x * 3; case 7: return called(1) - 1; case 9: return 5; default: return -1; } }
int closed(unsigned x) { switch (x & 7) { case 0: return called(8); case 1: return 4; case 2: return called(2); case 3: return 9; case 4: return called(11); case 5: return 1; case 6: return called(6); case 7: return 3; } __builtin_unreachable(); }
int open_end(int x) { switch (x) { case 0: return called(8); case 1: return 4; case 2: return called(2); case 3: return 9; case 4: return called(11); case 5: return 1; case 6: return called(6); } __builtin_unreachable(); }
int loop(const unsigned char *p)
{
	int sum = 0;
	for (;; p++)
		switch (*p) {
		case 'a': sum += 1; break;
		case 'b': sum = called(sum); break;
		case 'c': switch (p[1]) { case '0': sum += called(2); break; case '1': sum *= 3; break; case '2': sum -= 1; break; case '3': sum ^= 5; break; case '4': sum += called(3); break; case '5': return 7; } break;
		case 'd': sum <<= 1; break;
		case 'e': sum += called(5); break;
		case 'f': return sum;
		}
}
int go(const char *p)
{
	static const void *const where[] = { &&zero, &&one, &&two };
	int sum = 0;
	goto *where[*p];
zero: sum += 3; goto *where[*++p];
one: sum *= 2; goto *where[*++p];
two: return sum;
}
"#;

const SWITCHES_MAIN: &str = r#"
#include <stdio.h>
int plain(int), closed(unsigned), open_end(int), loop(const unsigned char *), go(const char *);
int main(void)
{
	for (int i = -1; i < 12; i++)
		printf("%d %d %d ", plain(i), closed(i), open_end((unsigned)i % 7));
	printf("%d %d\n", loop((const unsigned char *)"abc0c1dc2ec3c4bxf"), go("\0\1\0\1\2"));
	return 0;
}
"#;

/// A function that gets a code pointer by a table of distances, and leaves the call to others.
const HANDED_ON: &str = r#"
__asm__(".section .rodata\n.balign 4\ntable: .long one - table, two - table\n.text\n"
	".type one,@function\none: mov $1, %eax\nret\n.size one, .-one\n.type two,@function\ntwo: mov $2, %eax\nret\n.size two, .-two\n"
	".globl choose\n.type choose,@function\nchoose: lea table(%rip), %rdx\nmovslq (%rdx,%rdi,4), %rax\nadd %rdx, %rax\nret\n.size choose, .-choose\n");
"#;

/// A branch to the sum of a distance and an address that is not its table's.
const OTHER_BASE: &str = r#"
__asm__(".section .rodata\n.balign 4\n.long 0\ntable: .long one - table + 4\n.text\n"
	".type one,@function\none: mov $1, %eax\nret\n.size one, .-one\n"
	".globl leap\n.type leap,@function\nleap: lea table-4(%rip), %rdx\nmovslq 4(%rdx,%rdi,4), %rax\nadd %rdx, %rax\njmp *%rax\n.size leap, .-leap\n");
"#;

/// A table of distances that does not begin with one, and is only handed on.
const HEADED: &str = r#"
__asm__(".section .rodata\n.balign 4\ntable: .long 0, one - table\n.text\n"
	".type one,@function\none: mov $1, %eax\nret\n.size one, .-one\n"
	".globl tell\n.type tell,@function\ntell: lea table(%rip), %rax\nret\n.size tell, .-tell\n");
"#;

/// Distances from where they stand, between numbers.
const FROM_ITSELF: &str = r#"
__asm__(".section .rodata\n.balign 4\n.globl table\n.type table,@object\ntable: .long 7, one - ., 8, two - .\n.size table, .-table\n.text\n"
	".type one,@function\none: mov $1, %eax\nret\n.size one, .-one\n.type two,@function\ntwo: mov $2, %eax\nret\n.size two, .-two\n");
"#;

/// A virtual table of distances, to which only others refer: they count from behind its head.
const EXPORTED: &str = r#"
__asm__(".section .rodata\n.balign 4\n.globl table\n.type table,@object\ntable: .long 0, 0, one - table - 8\n.size table, .-table\n.text\n"
	".type one,@function\none: mov $1, %eax\nret\n.size one, .-one\n");
"#;

/// A jump table whose length a jump to a label leaves open.
const LABELS: &str = r#"
int calls;
int called(int x) { return calls += x; }
int leap(unsigned x, int k)
{
	static const void *const where[] = { &&choose, &&end };
	if (x > 14) { calls++; goto *where[k]; }
choose:
	switch (x) { case 0: return called(8); case 1: return 4; case 2: return called(2); case 3: return 9; case 4: return called(11); case 5: return 1; case 15: return called(6); default: break; }
end:
	return 3;
}
"#;

/// What clang makes of an array of pointers to constants that hold pointers, which may have a section of their own.
const CONSTANTS: &str = r#"
static const char *const first[] OWN = { "a", "b" }, *const second[] OWN = { "c", "d" };
__asm__(".section .rodata\n.balign 4\nreltable: .long first - reltable, second - reltable\n.text\n"
	".globl pick\n.type pick,@function\npick: lea reltable(%rip), %rax\nmovslq (%rax,%rdi,4), %rcx\nadd %rcx, %rax\nret\n.size pick, .-pick\n");
const char *const *used[] = { first, second };
"#;

/// A virtual table of distances: the type's, behind which is a function's. Only others refer to it.
const TYPED: &str = r#"
static const char *const type[] = { "type" };
__asm__(".section .rodata\n.balign 8\n.globl table\n.type table,@object\ntable: .long 0, type - table - 8, one - table - 8\n.size table, .-table\n.text\n"
	".type one,@function\none: mov $1, %eax\nret\n.size one, .-one\n");
const char *const *used[] = { type };
"#;

/// Addresses by the large code model.
const LARGE: &str = "extern int other; static int own; int *get(int which) { return which ? &other : &own; }";

fn moved(file: &Path) -> Separable<'static> {
    let bytes: &'static [u8] = fs::read(file).unwrap().leak();
    Separable::read(file, bytes).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()))
}

#[test]
fn switches_do_what_they_did() {
    let variants: [(&str, &[&str]); 8] = [
        ("gcc", &["-O0"]),
        ("gcc", &["-O2"]),
        ("gcc", &["-O3", "-fcf-protection"]),
        ("gcc", &["-Os", "-fuse-ld=lld"]),
        ("gcc", &["-O2", "-Wl,--emit-relocs"]),
        ("clang", &["-O1"]),
        ("clang", &["-O2", "-fuse-ld=lld"]),
        ("clang", &["-O3", "-fuse-ld=lld", "-Wl,--emit-relocs"]),
    ];
    for (index, (compiler, flags)) in variants.into_iter().enumerate() {
        let what = format!("{compiler} {flags:?}");
        let dir = folder(&format!("jump-tables-{index}"));
        let file = library(&dir, "lib.so", compiler, SWITCHES, flags);
        let (program, source) = (dir.join("program"), dir.join("main.c"));
        fs::write(&source, SWITCHES_MAIN).unwrap();
        let mut link = std::process::Command::new("gcc");
        link.arg("-o").arg(&program).arg(&source).arg("-L").arg(&dir);
        run(link.args(["-l:lib.so", "-Wl,-rpath,$ORIGIN"]));
        let output = || run(&mut std::process::Command::new(&program));
        let before = output();
        let library = moved(&file);
        assert_eq!((library.apart, &library.together), (true, &None), "{what}");
        let places = morselctl::separate::Places { code: 0x2345_6000, relro: 0x4012_3000, data: 0x6045_6000 };
        fs::write(&file, library.separate(places).unwrap()).unwrap();
        assert_eq!(output(), before, "{what}");
        // It may be done again, and code still stands alone.
        read(&fs::read(&file).unwrap(), &what);
    }
}

#[test]
fn what_may_be_another_distance_keeps_code_where_it_is() {
    for (index, (source, expected)) in [
        (HANDED_ON, "may be the distance"),
        (OTHER_BASE, "and not by a jump table"),
        (HEADED, "may be the distance"),
        (FROM_ITSELF, "may be the distance"),
        (EXPORTED, "may be the distance"),
        (LABELS, "beside labels"),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = folder(&format!("jump-tables-not-{index}"));
        let known = library(&dir, "known.so", "gcc", source, &["-Wl,--emit-relocs"]);
        assert!(moved(&known).apart, "the link editor knows it");
        let kept = moved(&library(&dir, "lib.so", "gcc", source, &[]));
        let reason = kept.together.clone().unwrap_or_default();
        assert!(!kept.apart && reason.contains(expected), "{reason}");
        assert_eq!(kept.sizes().code, 0);
    }
}

#[test]
fn distances_to_constants_keep_all_where_it_is() {
    let dir = folder("jump-tables-constants");
    let known = library(&dir, "known.so", "gcc", CONSTANTS, &["-O2", "-DOWN=", "-Wl,--emit-relocs"]);
    assert!(moved(&known).apart, "the link editor knows it");
    let large = library(&dir, "large.so", "gcc", LARGE, &["-O2", "-mcmodel=large"]);
    let distance = "may be the distance";
    let own = "-DOWN=__attribute__((section(\"myops\")))";
    let sources =
        [("lib.so", CONSTANTS, "-DOWN="), ("own.so", CONSTANTS, own), ("typed.so", TYPED, "-DOWN=")];
    let compile = |(name, source, flag)| library(&dir, name, "gcc", source, &["-O2", flag]);
    let files = sources.map(|one| (compile(one), distance));
    for (file, expected) in files.into_iter().chain([(large, "constants of eight bytes")]) {
        let bytes = fs::read(&file).unwrap();
        let refused = Separable::read(&file, &bytes).err().map(|error| format!("{error:#}"));
        assert!(refused.as_ref().is_some_and(|cause| cause.contains(expected)), "{refused:?}");
    }
}

/// The units of a library if its code goes away by so much.
fn units(bytes: &[u8], code: i64) -> Vec<Unit> {
    let file = ElfFile::parse(Path::new("lib.so"), bytes.to_vec()).unwrap();
    Shape::of(&file.segments).unwrap().units(Some(code), 1 << 30, 3 << 29)
}

/// Whether the verifier sees that a byte of a section is wrong. `place` is counted from the section's end if negative.
fn is_seen(code: &Code<'_>, units: &[Unit], section: &str, place: i64) -> bool {
    let patches = moves::patches(code, units).unwrap();
    let number = checked_sections(code).position(|one| one.name == section).expect(section);
    let checked = check_with(code, &patches, units, 0, &BTreeMap::new(), |sections| {
        let bytes = &mut sections[number];
        let place = if place < 0 { bytes.len() as i64 + place } else { place };
        bytes[place as usize] ^= 4;
    });
    checked.is_err()
}

#[test]
fn wrong_changes_are_seen() {
    let dir = folder("jump-tables-wrong");
    let file = library(&dir, "lib.so", "gcc", SWITCHES, &["-O2"]);
    let bytes = fs::read(file).unwrap();
    let (code, units) = (read(&bytes, "switches"), units(&bytes, 1 << 29));
    let patches = moves::patches(&code, &units).unwrap();
    let found = check_with(&code, &patches, &units, 0, &BTreeMap::new(), |_| {}).unwrap();
    assert!(found.data > 0);
    let tables = code.jump_tables().unwrap();
    assert!(tables.len() > 30, "{}", tables.len());
    let rodata = code.section(".rodata").unwrap().range.start;
    for entry in &tables {
        assert!(is_seen(&code, &units, ".rodata", (entry.field.at.0 - rodata.0) as i64));
    }
    // Where the frames are, how many functions there are, one's place and its frame's; where a frame's function is.
    for (section, place) in
        [(".eh_frame_hdr", 4), (".eh_frame_hdr", 8), (".eh_frame_hdr", -8), (".eh_frame_hdr", -4)]
    {
        assert!(is_seen(&code, &units, section, place), "{section} {place}");
    }
    let frames = code.section(".eh_frame").unwrap().range.clone();
    let begins = |pointer: &&morselctl::code::Pointer| frames.contains(&pointer.field.at);
    for pointer in code.unwind_pointers().iter().filter(begins) {
        assert!(is_seen(&code, &units, ".eh_frame", (pointer.field.at.0 - frames.start.0) as i64));
    }
}

/// A change that is left out is as wrong as one that is made badly.
#[test]
fn missing_changes_are_seen() {
    for (name, compiler, source) in [("c", "gcc", SWITCHES), ("cxx", "g++", CXX)] {
        let dir = folder(&format!("jump-tables-missing-{name}"));
        let bytes = fs::read(library(&dir, "lib.so", compiler, source, &["-O2"])).unwrap();
        let (code, units) = (read(&bytes, name), units(&bytes, 1 << 29));
        let patches = moves::patches(&code, &units).unwrap();
        let in_data = |at: Vaddr| code.section_at(at).is_some_and(|section| !section.executable);
        for (index, missing) in patches.iter().enumerate().filter(|(_, patch)| in_data(patch.at)) {
            if code.section(".gcc_except_table").is_some_and(|table| table.contains(missing.at)) {
                continue;
            }
            let mut others = patches.clone();
            others.remove(index);
            let checked = check_with(&code, &others, &units, 0, &BTreeMap::new(), |_| {});
            assert!(checked.is_err(), "{name}: {:#x}", missing.at.0);
        }
    }
}
