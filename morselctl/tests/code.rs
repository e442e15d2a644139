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
use morselctl::code::{Code, Kind, Patch, apply, calls};

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
    let sections: Vec<_> = code.sections().iter().filter(|section| !section.writable).collect();
    let new: Vec<Vec<u8>> = sections
        .iter()
        .map(|section| {
            let mut bytes = section.bytes.to_vec();
            apply(&mut bytes, section.range.start, patches).unwrap();
            bytes
        })
        .collect();
    let changed: Vec<Changed<'_>> = sections
        .iter()
        .zip(&new)
        .map(|(section, new)| Changed {
            start: section.range.start,
            code: section.executable,
            old: section.bytes,
            new,
        })
        .collect();
    let functions: Vec<Vaddr> = code.functions().iter().map(|function| function.start).collect();
    verify::verify(&Claim { sections: &changed, functions: &functions, units, bias, slots })
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
    let variants: [(&str, &str, &str, &[&str]); 8] = [
        ("gcc", C, MAIN, &["-O2"]),
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
