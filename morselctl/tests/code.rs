//! Machine code read with certainty: on libraries of several compilers and link editors, with the link editor as the oracle of
//! what must change when segments are moved apart, and by running what has been changed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{folder, run};
use ld_morsel::elf::Vaddr;
use morselctl::code::moves::{self, Unit};
use morselctl::code::verify::{self, Changed, Claim};
use morselctl::code::{Code, Patch, Section, apply, calls, overlay};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const SCRIPT: &str = include_str!("../../linker-scripts/morsel.ld");

/// A C library with calls of all kinds: imported, its own through slots, conditional ones, through pointers, a jump table.
const C: &str = r#"
#include <stdlib.h>
#include <string.h>
static int history[100];
static int (*chosen)(int);
_Thread_local int count = 3;
static _Thread_local int local_count;
const char *const names[] = { "one", "two" };
extern int weak_one(int) __attribute__((weak));
__attribute__((noinline)) int twice(int x) { history[x & 63]++; return 2 * x; }
__attribute__((noinline)) int pick(int x)
{
	switch (x) {
	case 0: return twice(5);
	case 1: return history[7];
	case 2: return (int)strlen(names[0]);
	case 3: return count++;
	case 4: return local_count--;
	case 5: return chosen ? chosen(x) : -1;
	case 6: return weak_one ? weak_one(x) : 6;
	case 7: { int *p = malloc(8); int r = !!p; free(p); return r; }
	default: return twice(x);
	}
}
int (*choose(void))(int) { return chosen = twice; }
int tail(int x) { return x > 3 ? pick(x) : twice(x); }
int *where(void) { return history + 100; }
"#;

/// A C++ library that throws and catches, with types of its own, cleanups, and an exception specification of old.
const CXX: &str = r#"
extern "C" int puts(const char *);
namespace {
struct Base { virtual ~Base() {} virtual int number() = 0; };
struct One : Base { int number() override { return 1; } };
struct Two : Base { int value; Two(int v) : value(v) {} int number() override { return value; } };
struct Guard { int *out; ~Guard() { ++*out; } };
}
int log_of_guards;
Base *make(int n) { if (n == 1) return new One; return new Two(n); }
void throws(int n) { Guard guard{&log_of_guards}; if (n == 1) throw One(); if (n == 2) throw Two(n); if (n == 3) throw 7L; }
extern "C" int more(int n) { return 2 * n; }
extern "C" int caught(int n)
{
	static Base *made = make(n);
	try { throws(n); }
	catch (Two &two) { return 20 + two.number(); }
	catch (Base &base) { return 10 + base.number(); }
	catch (long number) { return (int)number; }
	return more(made->number() + log_of_guards);
}
"#;

/// Compiles and links a library; `flags` are for both.
fn library(dir: &Path, name: &str, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let file = dir.join(name);
    let source_file = dir.join(if compiler.ends_with("++") { "source.cc" } else { "source.c" });
    fs::write(&source_file, source).unwrap();
    let mut command = Command::new(compiler);
    run(command.args(["-shared", "-fPIC", "-o"]).arg(&file).arg(&source_file).args(flags));
    file
}

/// The flags by which the link editor puts the parts at these distances.
fn shape(dir: &Path, linker: &str, distances: [u64; 2]) -> Vec<String> {
    let script = dir.join(format!("{:x}-{:x}.ld", distances[0], distances[1]));
    let text = SCRIPT.replace("0x40000000", &format!("{:#x}", distances[0]));
    fs::write(&script, text.replace("0x20000000", &format!("{:#x}", distances[1]))).unwrap();
    let flags = format!("-Wl,-T,{},-z,now,-z,max-page-size=0x200000", script.display());
    let rosegment = if linker == "lld" { "-Wl,--no-rosegment" } else { "-Wl,-z,noseparate-code" };
    vec![flags, rosegment.to_owned(), format!("-fuse-ld={linker}")]
}

/// The parts of a library linked by the script: code, what is read-only after relocation, data.
fn units(code: &Code<'_>, shifts: [i64; 3]) -> Vec<Unit> {
    let starts =
        |unit: u64| code.sections().iter().filter(move |section| section.range.start.0 >> 29 == unit);
    let range = |window: &[u64]| {
        let mut ranges: Vec<_> =
            window.iter().flat_map(|window| starts(*window)).map(|s| s.range.clone()).collect();
        ranges.sort_by_key(|range| range.start);
        let (first, last) = (ranges.first(), ranges.last());
        first.map_or(Vaddr(0), |range| range.start)..last.map_or(Vaddr(0), |range| range.end)
    };
    let parts = [range(&[0]), range(&[2]), range(&[3])].into_iter().zip(shifts);
    parts.map(|(range, shift)| Unit { range, shift }).collect()
}

/// gcc repeats the types of a function's handlers for its cold part, where nothing uses them. They are known only by
/// relocations.
const UNUSED_TYPES: &str = "-freorder-blocks-and-partition";

const VARIANTS: [(&str, &str, &[&str]); 10] = [
    ("gcc", C, &["-O2"]),
    ("gcc", C, &["-O0"]),
    ("gcc", C, &["-O2", "-fno-plt", "-fcf-protection"]),
    ("gcc", C, &["-O2", "-mtls-dialect=gnu2", "-fno-semantic-interposition"]),
    ("clang", C, &["-O2"]),
    ("clang", C, &["-O0", "-fno-plt"]),
    ("g++", CXX, &["-O2", "-fno-reorder-blocks-and-partition"]),
    ("g++", CXX, &["-O2", UNUSED_TYPES]),
    ("g++", CXX, &["-O0", "-fcf-protection"]),
    ("clang++", CXX, &["-O2"]),
];

/// The same objects linked at other distances differ exactly by what is to be changed for these distances.
#[test]
fn the_link_editor_agrees_with_every_change() {
    for linker in ["bfd", "lld"] {
        for (index, (compiler, source, flags)) in VARIANTS.into_iter().enumerate() {
            for extra in [&[][..], &["-Wl,--emit-relocs"]] {
                if extra.is_empty() && flags.contains(&UNUSED_TYPES) {
                    continue;
                }
                let what = format!("{linker} {compiler} {flags:?} {extra:?}");
                let dir = folder(&format!("code-moves-{linker}-{index}-{}", extra.len()));
                let link = |name, distances| {
                    let shape = shape(&dir, linker, distances);
                    let shape = shape.iter().map(String::as_str);
                    let all: Vec<&str> = flags.iter().chain(extra).copied().chain(shape).collect();
                    fs::read(library(&dir, name, compiler, source, &all)).unwrap()
                };
                let near = link("near.so", [0x4000_0000, 0x2000_0000]);
                let far = link("far.so", [0x4abc_0000, 0x2560_0000]);
                let (code, expected) = (read(&near, &what), read(&far, &what));
                let units = units(&code, [0, 0xabc_0000, 0xabc_0000 + 0x560_0000]);
                let patches = moves::patches(&code, &units).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(patches.len() > 10, "{what}: only {} changes", patches.len());
                compare(&code, &expected, &patches, &what);
                let far =
                    moves::patches(&code, &self::units(&code, [0, 0, 1 << 30])).unwrap_err().to_string();
                assert!(far.contains("the distance at"), "{what}: {far}");
                check(&code, &patches, &units, 0, &BTreeMap::new()).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
        }
    }
}

fn read<'a>(bytes: &'a [u8], what: &str) -> Code<'a> {
    Code::read(bytes).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Everything that is neither absolute nor written by relocation is what the other library has.
fn compare(code: &Code<'_>, expected: &Code<'_>, patches: &[Patch], what: &str) {
    let compared = |name: &str| {
        let of_loader =
            [".dyn", ".rel", ".note", ".gnu", ".hash"].iter().any(|start| name.starts_with(start));
        !of_loader
    };
    let mut changed = 0;
    for section in code.sections().iter().filter(|section| !section.writable && compared(section.name)) {
        let mut bytes = section.bytes.to_vec();
        apply(&mut bytes, section.range.start, patches).unwrap();
        changed += bytes.iter().zip(section.bytes).filter(|(new, old)| new != old).count();
        let other = expected.sections().iter().find(|other| other.name == section.name).unwrap();
        let differs = bytes.iter().zip(other.bytes).position(|(ours, theirs)| ours != theirs);
        assert_eq!(differs, None, "{what}: {} differs at this offset", section.name);
        assert_eq!(bytes.len(), other.bytes.len(), "{what}: {}", section.name);
    }
    assert!(changed > patches.len(), "{what}");
}

/// Lets the verifier look at all read-only sections.
fn check(
    code: &Code<'_>,
    patches: &[Patch],
    units: &[Unit],
    bias: u64,
    slots: &BTreeMap<Vaddr, u64>,
) -> Result<verify::Found, verify::Wrong> {
    check_with(code, patches, units, bias, slots, |_| {})
}

fn checked_sections<'c, 'a>(code: &'c Code<'a>) -> impl Iterator<Item = &'c Section<'a>> {
    code.sections().iter().filter(|section| !section.writable)
}

/// The same after something else has happened to the sections.
fn check_with(
    code: &Code<'_>,
    patches: &[Patch],
    units: &[Unit],
    bias: u64,
    slots: &BTreeMap<Vaddr, u64>,
    mutate: impl FnOnce(&mut [Vec<u8>]),
) -> Result<verify::Found, verify::Wrong> {
    let patched = checked_sections(code).map(|section| {
        let mut bytes = section.bytes.to_vec();
        apply(&mut bytes, section.range.start, patches).unwrap();
        bytes
    });
    let mut new: Vec<Vec<u8>> = patched.collect();
    mutate(&mut new);
    let changed = checked_sections(code).zip(&new).map(|(section, new)| Changed {
        start: section.range.start,
        kind: match section.name {
            _ if section.executable => verify::Kind::Code,
            ".eh_frame" => verify::Kind::Frames,
            _ => verify::Kind::Data,
        },
        old: section.bytes,
        new,
    });
    let sections: Vec<Changed<'_>> = changed.collect();
    let (beginnings, relocated) = (code.beginnings(), code.relocated());
    verify::verify(&Claim { sections: &sections, beginnings: &beginnings, units, bias, relocated, slots })
}

const MAIN: &str = r#"
#include <stdio.h>
int pick(int), tail(int), (*choose(void))(int), *where(void);
#ifdef INTERPOSE
int twice(int x) { return 1000 + x; }
#endif
int main(void)
{
	for (int i = 0; i < 10; i++)
		printf("%d ", pick(i));
	printf("%d %d %d %d\n", tail(2), tail(9), choose()(4), pick(5));
	return where()[-1];
}
"#;

/// Every form of call, jump and load that can become direct.
const FORMS: &str = r#"
int twice(int x) { return 2 * x; }
__asm__(".text\n.globl forms\n.type forms,@function\nforms: .cfi_startproc\n"
	"endbr64\nsub $8, %rsp\n.cfi_adjust_cfa_offset 8\n"
	"call twice@PLT\nmov %eax, %edi\n"
	".byte 0x66, 0x66\nrex.W call twice@PLT\nmov %eax, %edi\n"
	"call *twice@GOTPCREL(%rip)\nmov %eax, %edi\n"
	".byte 0x66\nrex.W call *twice@GOTPCREL(%rip)\nmov %eax, %edi\n"
	"mov twice@GOTPCREL(%rip), %rcx\ncall *%rcx\nmov %eax, %edi\n"
	"mov twice@GOTPCREL(%rip), %r11\ncall *%r11\nmov %eax, %edi\n"
	"add $8, %rsp\n.cfi_adjust_cfa_offset -8\n"
	"cmp $1000, %edi\njg twice@PLT\ncmp $300, %edi\njg 1f\nbnd jmp *twice@GOTPCREL(%rip)\n"
	"1: jmp *twice@GOTPCREL(%rip)\n.cfi_endproc\n.size forms, .-forms\n");
"#;

const FORMS_MAIN: &str = r#"
#include <stdio.h>
int forms(int);
#ifdef INTERPOSE
int twice(int x) { return 1 + x; }
#endif
int main(void)
{
	printf("%d %d %d\n", forms(1), forms(10), forms(100));
	return 0;
}
"#;

const CXX_MAIN: &str = r#"
#include <stdio.h>
int caught(int);
#ifdef INTERPOSE
int more(int x) { return 1000 + x; }
#endif
int main(void)
{
	printf("%d %d %d %d\n", caught(1), caught(2), caught(3), caught(4));
	return 0;
}
"#;

/// What the slots of a library hold if nothing interposes.
fn own_slots(code: &Code<'_>) -> BTreeMap<Vaddr, u64> {
    let slots = code.sections().iter().filter(|section| section.name.starts_with(".got"));
    let words = slots.flat_map(|section| code.relocated().range(section.range.clone()));
    words.filter_map(|(slot, target)| Some((*slot, (*target)?.0))).collect()
}

/// A program, linked with the library in its folder.
fn program(dir: &Path, compiler: &str, source: &str, name: &str, flags: &[&str]) -> PathBuf {
    let (file, source_file) = (dir.join(name), dir.join(format!("{name}.c")));
    fs::write(&source_file, source).unwrap();
    let mut command = Command::new(compiler);
    command.args(flags).arg("-o").arg(&file).arg(&source_file).arg("-L").arg(dir);
    run(command.args(["-l:lib.so", "-Wl,-rpath,$ORIGIN", "-Wl,--export-dynamic"]));
    file
}

/// A library's calls to itself become direct: programs run as before, and interposition does not reach them any more.
#[test]
fn direct_calls_do_what_calls_through_slots_did() {
    let variants: [(&str, &str, &str, &[&str]); 9] = [
        ("gcc", C, MAIN, &["-O2"]),
        ("gcc", FORMS, FORMS_MAIN, &["-O2"]),
        ("gcc", C, MAIN, &["-O0", "-Wl,-z,lazy"]),
        ("gcc", C, MAIN, &["-O2", "-fno-plt", "-fcf-protection", "-Wl,-z,ibtplt"]),
        ("gcc", C, MAIN, &["-O2", "-fcf-protection", "-Wl,-z,ibtplt", "-fuse-ld=lld"]),
        ("clang", C, MAIN, &["-O2", "-fsemantic-interposition", "-fuse-ld=mold"]),
        ("musl-gcc", C, MAIN, &["-O2"]),
        ("musl-gcc", C, MAIN, &["-O1", "-fno-plt"]),
        ("g++", CXX, CXX_MAIN, &["-O2"]),
    ];
    for (index, (compiler, source, main, flags)) in variants.into_iter().enumerate() {
        let what = format!("{compiler} {flags:?}");
        let dir = folder(&format!("code-calls-{index}"));
        let file = library(&dir, "lib.so", compiler, source, flags);
        let original = fs::read(&file).unwrap();
        let code = read(&original, &what);
        let compiler = if compiler == "musl-gcc" { compiler } else { "gcc" };
        let plain = program(&dir, compiler, main, "plain", &[]);
        let interposing = program(&dir, compiler, main, "interposing", &["-DINTERPOSE"]);
        let expected = run(&mut Command::new(&plain));
        assert_ne!(run(&mut Command::new(&interposing)), expected, "{what}");

        let slots = own_slots(&code);
        let sites = calls::patches(&code, 0, &slots);
        assert!(sites.patches.len() >= 3 && sites.kept.is_empty(), "{what}: {sites:?}");
        let found =
            check(&code, &sites.patches, &[], 0, &slots).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((found.direct, found.moved, found.data), (sites.patches.len(), 0, 0), "{what}");
        fs::write(&file, changed_file(&original, &code, &sites.patches)).unwrap();
        assert_eq!(run(&mut Command::new(&plain)), expected, "{what}");
        assert_eq!(run(&mut Command::new(&interposing)), expected, "{what}");
    }
}

/// The file with what its sections have become. `code` has been read from `original`, of which its sections are parts.
fn changed_file(original: &[u8], code: &Code<'_>, patches: &[Patch]) -> Vec<u8> {
    let mut file = original.to_vec();
    for section in code.sections().iter().filter(|section| section.executable) {
        let start = section.bytes.as_ptr() as usize - original.as_ptr() as usize;
        apply(&mut file[start..start + section.bytes.len()], section.range.start, patches).unwrap();
    }
    file
}

/// A library whose parts have been moved apart and whose calls are direct: whatever byte is changed, the verifier says so.
#[test]
fn no_mutation_escapes_the_verifier() {
    let variants: [(&str, &str, &[&str]); 4] = [
        ("gcc", C, &["-O2"]),
        ("gcc", C, &["-O2", "-fno-plt"]),
        ("clang", C, &["-O2", "-fsemantic-interposition"]),
        ("g++", CXX, &["-O2", "-fcf-protection", "-Wl,-z,ibtplt"]),
    ];
    for (index, (compiler, source, flags)) in variants.into_iter().enumerate() {
        let what = format!("{compiler} {flags:?}");
        let dir = folder(&format!("code-mutations-{index}"));
        let shape = shape(&dir, "bfd", [0x4000_0000, 0x2000_0000]);
        let flags: Vec<&str> = flags.iter().copied().chain(shape.iter().map(String::as_str)).collect();
        let original = fs::read(library(&dir, "lib.so", compiler, source, &flags)).unwrap();
        let code = read(&original, &what);
        let units = units(&code, [0, 0x765_4000, 0x321_1000]);
        let (bias, slots) = (0x7000_0000_0000, own_slots(&code));
        let slots: BTreeMap<_, _> = slots.into_iter().map(|(slot, target)| (slot, target + bias)).collect();
        let moved = moves::patches(&code, &units).unwrap();
        let direct = calls::patches(&code, bias, &slots);
        let patches = overlay(&moved, &direct.patches).unwrap();
        let found = check(&code, &patches, &units, bias, &slots).unwrap();
        assert!(found.moved > 5 && found.direct == direct.patches.len(), "{what}: {found:?}");

        let length: usize = checked_sections(&code).map(|section| section.bytes.len()).sum();
        let mut runner =
            TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
        let mutations = (0..length, 1..=255u8, proptest::option::of(0..length));
        let result = runner.run(&mutations, |(first, bits, second)| {
            let places = [Some(first), second].into_iter().flatten();
            let mutated = check_with(&code, &patches, &units, bias, &slots, |bytes| {
                for place in places {
                    let mut place = place;
                    let section = bytes.iter_mut().find(|section| {
                        let here = place < section.len();
                        place -= if here { 0 } else { section.len() };
                        here
                    });
                    section.unwrap()[place] ^= bits;
                }
            });
            prop_assert!(mutated.is_err() || second == Some(first));
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{what}: {error}"));
        for patch in &patches {
            let forgotten: Vec<Patch> = patches.iter().filter(|other| *other != patch).copied().collect();
            let is_code = code.section_at(patch.at).unwrap().executable;
            let is_call = direct.patches.contains(patch);
            let result = check(&code, &forgotten, &units, bias, &slots);
            // A call that stays indirect is right unless its slot has moved; forgotten data looks like unchanged data.
            assert!(result.is_err() || !is_code || is_call, "{what}: {patch:x?}");
        }
    }
}

/// Whatever the bytes are, there is an answer.
#[test]
fn damaged_files_are_refused_or_read() {
    let dir = folder("code-damaged");
    let original = fs::read(library(&dir, "lib.so", "g++", CXX, &["-O2", "-Wl,--emit-relocs"])).unwrap();
    let mut runner = TestRunner::new(Config { cases: 3000, failure_persistence: None, ..Config::default() });
    let changes = proptest::collection::vec((0..original.len(), any::<u8>()), 1..8);
    let result = runner.run(&(changes, 0..original.len()), |(changes, end)| {
        let mut bytes = original.clone();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        bytes.truncate(if end % 4 == 0 { end } else { original.len() });
        if let Ok(code) = Code::read(&bytes) {
            let _ = moves::patches(&code, &units(&code, [0, 1 << 21, 1 << 22]));
            let _ = calls::patches(&code, 0, &own_slots(&code));
        }
        Ok(())
    });
    result.unwrap();
}

/// What is wrong is found, and said with its address.
#[test]
fn uncertain_code_is_refused_with_the_reason() {
    // What is in a function that has a size and an unwind table, and what is behind it.
    let cases: [(&str, &str, &str, &str); 13] = [
        ("good", "lea f(%rip), %rax\nret", ".p2align 5", ""),
        ("followed", "jmp g", "ret\ng: call g\nret", "belongs to no function"),
        ("reached", "jmp g", ".p2align 4\ng: call g\nret", ""),
        ("unreached", "ret", ".quad 0x1122334455667788", "belongs to no function"),
        ("middle", "jmp 1f+1\n1: mov $1, %eax\nret", "", "where no instruction begins"),
        ("outside", "jmp f+0x100000", "", "where no instruction begins"),
        ("table", "lea 1f(%rip), %rax\njmp *(%rax)\n1: .quad 0x9090909090909090", "", "among code"),
        ("constant", "mov 1f(%rip), %rax\nret\n1: .quad 0x9090909090909090", "", "among code"),
        ("invalid", ".byte 6\nret", "", "no valid instruction"),
        ("privileged", "wrmsr\nret", "", "privileged instruction"),
        ("overrun", ".byte 0xe8, 0, 0", "nop\nnop", "reaches over the end"),
        ("object", "ret", ".type table,@object\n.size table,4\ntable: .long 0x90909090", "variable table"),
        ("writes", "ret", ".quad f", "read-only"),
    ];
    let dir = folder("code-refusals");
    for (name, body, behind, expected) in cases {
        let (source, file) = (dir.join(format!("{name}.s")), dir.join(format!("{name}.so")));
        let body = format!(".type f,@function\nf: .cfi_startproc\n{body}\n.cfi_endproc\n.size f, .-f\n");
        fs::write(&source, format!(".text\n{body}\n{behind}\n")).unwrap();
        let mut gcc = Command::new("gcc");
        run(gcc.args(["-shared", "-nostdlib", "-Wl,-z,notext", "-o"]).arg(&file).arg(&source));
        let bytes = fs::read(&file).unwrap();
        let result = Code::read(&bytes).map(drop).map_err(|error| error.to_string());
        match expected {
            "" => assert_eq!(result, Ok(()), "{name}"),
            _ => assert!(result.clone().unwrap_err().contains(expected), "{name}: {result:?}"),
        }
    }
}

/// Addresses of which it cannot be said in which part their object is keep a library together.
#[test]
fn ambiguous_addresses_are_refused_with_the_reason() {
    let cases = [
        ("object", "mov object(%rip), %rax", ""),
        ("beginning", "lea object(%rip), %rax", ""),
        ("end", "lea object+8(%rip), %rax", ""),
        ("sealed", "lea sealed(%rip), %rax", ""),
        ("slot", "lea slot(%rip), %rax", "which holds no objects"),
        ("biased", "lea object-8(%rip), %rax", "which holds no objects"),
        ("dynamic", "mov _DYNAMIC+16(%rip), %rax", "which holds no objects"),
        ("outside", "lea object+0x100000(%rip), %rax", "outside all sections"),
        ("edge", "lea object+8(%rip), %rax", "the end of .data and the beginning of .bss"),
        ("odd", "lea odd(%rip), %rax", "may hold distances"),
    ];
    let dir = folder("code-ambiguous");
    for (name, body, expected) in cases {
        let (source, file) = (dir.join(format!("{name}.s")), dir.join(format!("{name}.so")));
        let odd = if name == "odd" { ".section odd_ones, \"a\"\nodd: .long object - .\n" } else { "" };
        let data = format!(
            ".section .got, \"aw\"\nslot: .quad 0\n{odd}.data\nobject: .quad 1\n.bss\nzeroed: .zero 8\n"
        );
        let sealed = ".section .data.rel.ro, \"aw\"\nsealed: .quad sealed\n";
        let text = format!("{data}{sealed}.text\n.type f,@function\nf: {body}\nret\n.size f, .-f\n");
        fs::write(&source, text).unwrap();
        let mut gcc = Command::new("gcc");
        run(gcc.args(["-shared", "-nostdlib", "-Wl,-z,now", "-o"]).arg(&file).arg(&source));
        let bytes = fs::read(&file).unwrap();
        let code = read(&bytes, name);
        let starts = |name| code.section(name).map(|section| section.range.start);
        let sealed = code.sections().iter().find(|section| section.writable).unwrap().range.start;
        // The last part is data, or what of it is zeroed, where the other data are part of the second.
        let data = starts(if name == "edge" { ".bss" } else { ".data" }).unwrap();
        let parts =
            [Vaddr(0)..sealed, sealed..data, data..Vaddr(1 << 40)].into_iter().zip([0, 1 << 21, 1 << 22]);
        let units: Vec<Unit> = parts.map(|(range, shift)| Unit { range, shift }).collect();
        let result = moves::patches(&code, &units).map(drop).map_err(|error| error.to_string());
        match expected {
            "" => assert_eq!(result, Ok(()), "{name}"),
            _ => assert!(result.clone().unwrap_err().contains(expected), "{name}: {result:?}"),
        }
    }
}
