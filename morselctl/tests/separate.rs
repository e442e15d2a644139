//! Libraries whose parts have been moved apart are files that every loader accepts, and do what they did.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::code::{C, CXX, library, read};
use common::{STOCK, folder, loader, run};
use morselctl::separate::{Places, Separable};

const MAIN: &str = r#"
#include <stdio.h>
int pick(int), tail(int), (*choose(void))(int), *where(void);
extern const char *const names[];
extern _Thread_local int count;
int main(void)
{
	for (int i = 0; i < 10; i++)
		printf("%d ", pick(i));
	printf("%d %d %d %d %s %d\n", tail(2), tail(9), choose()(4), pick(5), names[1], count);
	return where()[-1];
}
"#;

const CXX_MAIN: &str = r#"
#include <stdio.h>
int caught(int);
int main(void)
{
	printf("%d %d %d %d\n", caught(1), caught(2), caught(3), caught(4));
	return 0;
}
"#;

/// Distances as the pass draws them.
const PLACES: Places = Places { code: 0x2078_9000, relro: 0x4012_3000, data: 0x6045_6000 };

/// The library in `file` with its parts apart, or why it keeps its shape.
fn separate(file: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(file)?;
    let moved = Separable::read(file, &bytes)?.separate(PLACES)?;
    fs::write(file, moved)?;
    Ok(())
}

fn program(dir: &Path, compiler: &str, source: &str) -> PathBuf {
    let (file, source_file) = (dir.join("program"), dir.join("main.c"));
    fs::write(&source_file, source).unwrap();
    let mut command = Command::new(compiler);
    command.arg("-o").arg(&file).arg(&source_file).arg("-L").arg(dir);
    run(command.args(["-l:lib.so", "-Wl,-rpath,$ORIGIN"]));
    file
}

/// `program` prints the same before and after: under ld-morsel and, unless it is too old for it, stock musl if it is for musl;
/// or else under its own loader.
#[track_caller]
fn does_the_same(dir: &Path, compiler: &str, source: &str, flags: &[&str]) {
    let what = &format!("{compiler} {flags:?}");
    let program = program(dir, compiler, source);
    let packed = flags.iter().any(|flag| flag.contains("=relr") || flag.contains("z,pack-relative"));
    let commands = || match compiler {
        "musl-gcc" if packed => vec![Command::new(loader())],
        "musl-gcc" => vec![Command::new(STOCK), Command::new(loader())],
        _ => vec![Command::new("env")],
    };
    let outputs =
        || -> Vec<String> { commands().iter_mut().map(|command| run(command.arg(&program))).collect() };
    let before = outputs();
    separate(&dir.join("lib.so")).unwrap_or_else(|error| panic!("{what}: {error:#}"));
    assert_eq!(outputs(), before, "{what}");
    // What is there is as clear as it was.
    let bytes = fs::read(dir.join("lib.so")).unwrap();
    read(&bytes, what);
}

const VARIANTS: [(&str, &str, &str, &[&str]); 10] = [
    ("musl-gcc", C, MAIN, &["-O2"]),
    ("musl-gcc", C, MAIN, &["-O2", "-Wl,-z,now"]),
    ("musl-gcc", C, MAIN, &["-O2", "-Wl,--emit-relocs"]),
    ("musl-gcc", C, MAIN, &["-O2", "-Wl,-z,norelro"]),
    ("musl-gcc", C, MAIN, &["-O2", "-Wl,-z,pack-relative-relocs", "-Wl,-z,now"]),
    ("musl-gcc", C, MAIN, &["-O0", "-fno-plt", "-fuse-ld=lld"]),
    ("musl-gcc", C, MAIN, &["-O2", "-fuse-ld=lld", "-Wl,-z,now", "-Wl,--pack-dyn-relocs=relr"]),
    ("musl-gcc", C, MAIN, &["-O2", "-fuse-ld=mold"]),
    ("gcc", C, MAIN, &["-O2", "-mtls-dialect=gnu2"]),
    ("g++", CXX, CXX_MAIN, &["-O2"]),
];

#[test]
fn programs_run_as_before() {
    for (index, (compiler, source, main, flags)) in VARIANTS.into_iter().enumerate() {
        let dir = folder(&format!("separate-{index}"));
        library(&dir, "lib.so", compiler, source, flags);
        let compiler = if compiler == "g++" { "gcc" } else { compiler };
        does_the_same(&dir, compiler, main, flags);
    }
}

/// Relative relocations in the short form, among them such that cross the edge at which a segment is divided.
#[test]
fn packed_relocations_move() {
    const MANY: &str = r#"
int variable[50];
int *const constants[] = { variable, variable + 1, variable + 2 };
int *pointers[] = { variable + 3, variable + 4, variable + 5 };
int **first = pointers;
int sum(void) { int s = 0; for (int i = 0; i < 3; i++) { *pointers[i] = i; s += *constants[i] + (int)(pointers[i] - variable); } return s + (first == pointers); }
"#;
    const USE: &str =
        "#include <stdio.h>\nint sum(void);\nint main(void) { printf(\"%d\\n\", sum()); return 0; }\n";
    for relocations in ["-Wl,-z,pack-relative-relocs", "-Wl,-z,nopack-relative-relocs"] {
        let dir = folder(&format!("separate-relr-{}", relocations.len()));
        library(&dir, "lib.so", "musl-gcc", MANY, &["-O1", "-Wl,-z,now", relocations]);
        does_the_same(&dir, "musl-gcc", USE, &[relocations]);
    }
}

/// An address among what holds no objects may just as well count from a neighbour in another part.
#[test]
fn what_is_ambiguous_keeps_its_shape() {
    const EDGE: &str = "extern char _DYNAMIC[] __attribute__((visibility(\"hidden\"))); char *volatile pointer = _DYNAMIC + 16;\n";
    let dir = folder("separate-edge");
    let file = library(&dir, "lib.so", "musl-gcc", EDGE, &["-O1"]);
    let before = fs::read(&file).unwrap();
    let reason = separate(&file).unwrap_err().to_string();
    assert!(reason.contains("within .dynamic"), "{reason}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn what_cannot_be_moved_says_why() {
    const TEXTREL: &str = "__asm__(\".text\\n.globl word\\nword: .quad place\\n.data\\nplace: .quad 1\");\n";
    let cases: [(&str, &[&str], &str); 2] = [
        (TEXTREL, &["-Wl,-z,notext"], "relocations in its code"),
        (
            "_Alignas(65536) int large = 1; int *where(void) { return &large; }",
            &[],
            "aligned to more than a page",
        ),
    ];
    for (index, (source, flags, expected)) in cases.into_iter().enumerate() {
        let dir = folder(&format!("separate-not-{index}"));
        let file = library(&dir, "lib.so", "gcc", source, flags);
        let reason = separate(&file).unwrap_err().to_string();
        assert!(reason.contains(expected), "{reason}");
    }
}
