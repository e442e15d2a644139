//! Libraries that tests of `code` compile, and what they do with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ld_morsel::elf::Vaddr;
use morselctl::code::moves::Unit;
use morselctl::code::verify::{self, Changed, Claim};
use morselctl::code::{Code, Patch, Section, apply};

use super::run;

const SCRIPT: &str = include_str!("../../../linker-scripts/morsel.ld");

/// A C library with calls of all kinds: imported, its own through slots, conditional ones, through pointers, a jump table.
pub const C: &str = r#"
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
pub const CXX: &str = r#"
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
pub fn library(dir: &Path, name: &str, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let file = dir.join(name);
    let source_file = dir.join(if compiler.ends_with("++") { "source.cc" } else { "source.c" });
    fs::write(&source_file, source).unwrap();
    let mut command = Command::new(compiler);
    run(command.args(["-shared", "-fPIC", "-o"]).arg(&file).arg(&source_file).args(flags));
    file
}

/// The flags by which the link editor puts the parts at these distances.
pub fn shape(dir: &Path, linker: &str, distances: [u64; 2]) -> Vec<String> {
    let script = dir.join(format!("{:x}-{:x}.ld", distances[0], distances[1]));
    let text = SCRIPT.replace("0x40000000", &format!("{:#x}", distances[0]));
    fs::write(&script, text.replace("0x20000000", &format!("{:#x}", distances[1]))).unwrap();
    let flags = format!("-Wl,-T,{},-z,now,-z,max-page-size=0x200000", script.display());
    let rosegment = if linker == "lld" { "-Wl,--no-rosegment" } else { "-Wl,-z,noseparate-code" };
    vec![flags, rosegment.to_owned(), format!("-fuse-ld={linker}")]
}

/// The parts of a library linked by the script: code, what is read-only after relocation, data.
pub fn units(code: &Code<'_>, shifts: [i64; 3]) -> Vec<Unit> {
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

pub fn read<'a>(bytes: &'a [u8], what: &str) -> Code<'a> {
    Code::read(bytes).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// What the slots of a library hold if nothing interposes.
pub fn own_slots(code: &Code<'_>) -> BTreeMap<Vaddr, u64> {
    let slots = code.sections().iter().filter(|section| section.name.starts_with(".got"));
    let words = slots.flat_map(|section| code.relocated().range(section.range.clone()));
    words.filter_map(|(slot, target)| Some((*slot, (*target)?.0))).collect()
}

/// Lets the verifier look at all read-only sections.
pub fn check(
    code: &Code<'_>,
    patches: &[Patch],
    units: &[Unit],
    bias: u64,
    slots: &BTreeMap<Vaddr, u64>,
) -> Result<verify::Found, verify::Wrong> {
    check_with(code, patches, units, bias, slots, |_| {})
}

pub fn checked_sections<'c, 'a>(code: &'c Code<'a>) -> impl Iterator<Item = &'c Section<'a>> {
    code.sections().iter().filter(|section| !section.writable)
}

/// The same after something else has happened to the sections.
pub fn check_with(
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
        kind: verify::Kind::of(section),
        old: section.bytes,
        new,
    });
    let sections: Vec<Changed<'_>> = changed.collect();
    let (beginnings, relocated) = (code.beginnings(), code.relocated());
    let (sections, beginnings) = (&sections, &beginnings);
    let left = code.from_relocations().unwrap();
    let distances = left.as_deref();
    verify::verify(&Claim { sections, beginnings, units, bias, relocated, distances, slots })
}
