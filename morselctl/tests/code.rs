//! Machine code read with certainty: on libraries of several compilers and link editors, with the link editor as the oracle of
//! what must change when segments are moved apart, and by running what has been changed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::code::{C, CXX, check, library, own_slots, read, shape, units};
use common::{folder, run};
use morselctl::code::{Code, Patch, apply, calls, moves};

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
                let far = moves::patches(&code, &common::code::units(&code, [0, 0, 1 << 30]))
                    .unwrap_err()
                    .to_string();
                assert!(far.contains("the distance at"), "{what}: {far}");
                check(&code, &patches, &units, 0, &BTreeMap::new()).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
        }
    }
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

/// Which function it is that is called only the resolver knows: such a slot's content is not known.
const INDIRECT: &str = r#"
static int four(int x) { return 4 * x; }
static int (*resolve(void))(int) { return four; }
int by_name(int) __attribute__((ifunc("resolve")));
static int local(int) __attribute__((ifunc("resolve")));
int twice(int x) { return 2 * x; }
int forms(int x) { int y = twice(x); y += twice(y); return by_name(y) + local(y) + twice(twice(y)); }
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
    let variants: [(&str, &str, &str, &[&str]); 10] = [
        ("gcc", C, MAIN, &["-O2"]),
        ("gcc", FORMS, FORMS_MAIN, &["-O2"]),
        ("gcc", INDIRECT, FORMS_MAIN, &["-O2"]),
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

/// Calls to more functions at one place of a page than the cache has room for keep their stubs, as they are; all other calls and
/// stubs become direct.
#[test]
fn where_functions_compete_for_the_cache_stubs_stay() {
    for (apart, at_one_place) in [(4096, true), (4096 + 64, false)] {
        let mut text = "__asm__(\".text\\n.p2align 12\\n\"\n".to_owned();
        for number in 0..20 {
            text += &format!(
                "\".org {apart} * {number}\\n.globl f{number}\\n.type f{number},@function\\n\
                 f{number}: .cfi_startproc\\nret\\n.cfi_endproc\\n.size f{number}, .-f{number}\\n\"\n"
            );
        }
        text += ");\n";
        let calls = |range: std::ops::Range<u32>| range.map(|n| format!("f{n}();")).collect::<String>();
        text += &(0..20).map(|n| format!("void f{n}(void);\n")).collect::<String>();
        text += &format!("void many(void) {{ {} }} void few(void) {{ {} }}\n", calls(0..20), calls(0..8));
        let dir = folder(&format!("code-crowds-{apart}"));
        let file = library(&dir, "lib.so", "gcc", &text, &["-O2", "-fno-optimize-sibling-calls"]);
        let original = fs::read(file).unwrap();
        let code = read(&original, "crowds");
        let slots = own_slots(&code);
        let sites = calls::patches(&code, 0, &slots);
        let crowded = if at_one_place { 20 } else { 0 };
        assert_eq!(sites.kept.len(), 2 * crowded, "{apart}"); // each call, and its stub's jump
        assert!(sites.kept.iter().all(|(_, kept)| *kept == calls::Kept::Crowded), "{apart}");
        let in_stubs = |patch: &&Patch| code.is_linkage_table(patch.at);
        assert_eq!(sites.patches.iter().filter(in_stubs).count(), 20 - crowded, "{apart}");
        assert_eq!(sites.patches.len(), 20 + 28 - 2 * crowded, "{apart}");
        let found = check(&code, &sites.patches, &[], 0, &slots).unwrap();
        assert_eq!(found.direct, sites.patches.len(), "{apart}");
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
