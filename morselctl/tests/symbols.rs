//! Tools find names in an image: nm, addr2line, perf, and whoever reads ELF files.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{compile, compile_for, folder, loader, morselctl, run, text};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// A library that works for a while; `NAME` is its own.
const LIBRARY: &str = r#"
static volatile unsigned long sum;
int NAME_number = 7;
__attribute__((noinline)) static void NAME_inner(unsigned long rounds) { while (rounds--) sum += rounds; }
__attribute__((noinline)) void NAME_work(unsigned long rounds) { NAME_inner(rounds); sum++; }
int both(void) { return NAME_number; }
int NAME_plain(int number) { return 3 * number + 5; }
"#;
const PROGRAM: &str = r#"
#include <stdio.h>
void one_work(unsigned long); void two_work(unsigned long);
int main(void) { one_work(300000000); two_work(300000000); return 0; }
"#;

/// A program, its two libraries and its image.
fn built(name: &str) -> (PathBuf, PathBuf) {
    let dir = folder(name);
    fs::create_dir_all(dir.join("lib")).unwrap();
    for library in ["one", "two"] {
        let output = dir.join(format!("lib/lib{library}.so"));
        let source = LIBRARY.replace("NAME", library);
        compile(&output, &source, &["-shared", "-fPIC", "-O1", "-g", "-Wl,--build-id"]);
    }
    let libraries = format!("-L{}", dir.join("lib").display());
    let options = [&libraries, "-lone", "-ltwo", "-Wl,-rpath,$ORIGIN/lib"];
    compile_for(&loader(), &dir.join("prog"), PROGRAM, &options);
    let image = dir.join("image");
    let output = morselctl(&[&"build", &dir.join("prog"), &"-o", &image]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (dir, image)
}

fn address_of(image: &Path, wanted: &str) -> u64 {
    let listed = run(Command::new("nm").arg(image));
    let line = listed.lines().find(|line| line.ends_with(&format!(" {wanted}")));
    let line = line.unwrap_or_else(|| panic!("no {wanted} in {listed}"));
    u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
}

#[test]
fn functions_and_objects_have_their_names() {
    let (dir, image) = built("symbols-names");
    let listed = run(Command::new("nm").arg(&image));
    let kind = |name: &str| {
        let lines = listed.lines().filter_map(|line| line.strip_suffix(&format!(" {name}")));
        lines.map(|line| line.chars().last().unwrap()).collect::<String>()
    };
    assert_eq!((kind("one_work").as_str(), kind("two_number").as_str()), ("T", "D"));
    assert_eq!((kind("one_inner").as_str(), kind("both").as_str()), ("t", "tt"), "{listed}");
    assert_eq!(kind("malloc"), "W");
    let shown = run(Command::new("addr2line")
        .args(["-f", "-e"])
        .arg(&image)
        .arg(format!("{:x}", address_of(&image, "two_work") + 1)));
    assert_eq!(shown.lines().next(), Some("two_work"));

    let bytes = fs::read(&image).unwrap();
    let file = object::File::parse(&bytes[..]).unwrap();
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok("one_work")).unwrap();
    let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
    assert_eq!(section.name(), Ok(".text:libone.so"));
    let own = fs::read(dir.join("lib/libone.so")).unwrap();
    let own = object::File::parse(&own[..]).unwrap();
    let code = |file: &object::File<'_>| {
        // Its code is the same wherever the library's data are.
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok("one_plain")).unwrap();
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        section.data_range(symbol.address(), symbol.size()).unwrap().unwrap().to_vec()
    };
    assert_eq!(code(&file), code(&own));
    let note = file.section_by_name(".note.build-id:libone.so").unwrap().data().unwrap();
    let build_id = own.build_id().unwrap().unwrap();
    assert!(note.ends_with(build_id), "{note:x?}");
    assert_eq!(file.build_id(), Ok(None), "it has none of its own");
    let table = file.section_by_name(".symtab").unwrap();
    let (table, _) = table.file_range().unwrap();
    let mapped = file.segments().map(|segment| object::ObjectSegment::file_range(&segment));
    assert!(mapped.into_iter().all(|(start, size)| start + size <= table), "symbols are not mapped");
}

#[test]
fn perf_names_functions_of_libraries() {
    let (dir, image) = built("symbols-perf");
    let data = dir.join("perf.data");
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-e", "cpu-clock", "-o"]).arg(&data).arg(dir.join("prog"));
    run(command.env("LD_MORSEL_IMAGE", format!("require:{}", image.display())));
    let report = run(Command::new("perf").args(["report", "--stdio", "--sort", "dso,sym", "-i"]).arg(&data));
    for name in ["one_inner", "two_inner"] {
        let named = report.lines().any(|line| line.contains(" image ") && line.ends_with(name));
        assert!(named, "{report}");
    }
}
