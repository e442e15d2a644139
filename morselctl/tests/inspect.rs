//! What `inspect` says of libraries, and that the linker scripts give them the shape that it asks for: the example's
//! libraries do the same under glibc, stock musl and ld-morsel, by each link editor.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{STOCK, folder, loader, morselctl, refusal, run, text};
use serde_json::Value;

const OUTPUT: &str = "counter: started 1, main thread 11\n\
    counter: other thread 11\n\
    counter: main thread, history 12\n\
    shapes: constructors 1 2\n\
    shapes: unwound\n\
    shapes: area 9\n\
    shapes: unwound\n\
    shapes: caught -2\n\
    counter: done\n";

fn inspect(files: &[PathBuf]) -> Vec<Value> {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"inspect", &"--json"];
    arguments.extend(files.iter().map(|file| file as &dyn AsRef<std::ffi::OsStr>));
    let output = morselctl(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn make(libc: &str, linker: &str) -> PathBuf {
    make_in("shape", libc, linker)
}

fn make_in(purpose: &str, libc: &str, linker: &str) -> PathBuf {
    let dir = folder(&format!("{purpose}-{libc}-{linker}"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../linker-scripts/example");
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(example).env_remove("MAKEFLAGS");
    run(make.args([format!("LIBC={libc}"), format!("LINKER={linker}"), format!("OUT={}", dir.display())]));
    dir
}

fn libraries(dir: &Path) -> Vec<PathBuf> {
    ["libcounter.so", "libshapes.so"].map(|name| dir.join(name)).to_vec()
}

fn check_shape(dir: &Path, far: bool) {
    for (library, file) in inspect(&libraries(dir)).iter().zip(libraries(dir)) {
        assert_eq!(library["fully_shareable"], true, "{library:#}");
        assert!(library["advice"].is_null());
        let segments = library["segments"].as_array().unwrap();
        let kind = |segment: &Value| ["class", "access"].map(|key| segment[key].as_str().unwrap().to_owned());
        let kinds: Vec<_> = segments.iter().map(kind).collect();
        assert_eq!(kinds, [["code", "r-x"], ["relro", "rw-"], ["writable", "rw-"]]);
        check_headers(&file, far);
        // No holes: what is loaded and nothing else, within a few pages.
        let sections = run(Command::new("size").arg("-A").arg(&file));
        let total = sections.lines().find_map(|line| line.strip_prefix("Total")).unwrap().trim();
        let total: u64 = total.parse().unwrap();
        assert!(fs::metadata(&file).unwrap().len() < total + 64 * 1024, "{sections}");
        let readelf = Command::new("readelf").arg("-aW").arg(&file).output().unwrap();
        assert_eq!(text(&readelf.stderr), "");
    }
}

/// The distance of each segment, and that RELRO is one of them to its last page.
fn check_headers(file: &Path, far: bool) {
    let headers = run(Command::new("readelf").arg("-lW").arg(file));
    for needed in ["GNU_EH_FRAME", "NOTE"] {
        assert!(headers.contains(needed), "{}: no {needed}", file.display());
    }
    let of = |kind: &str| -> Vec<[u64; 4]> {
        let lines = headers.lines().filter(|line| line.split_whitespace().next() == Some(kind));
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        lines
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                [1, 2, 4, 5].map(|column| number(words[column]))
            })
            .collect()
    };
    let loads = of("LOAD");
    if far {
        let distances: Vec<u64> = loads.iter().map(|[offset, address, ..]| address - offset).collect();
        assert_eq!(distances, [0, 1 << 30, 3 << 29], "{headers}");
    }
    let relro = of("GNU_RELRO")[0];
    let (address, end) = (relro[1], relro[1] + relro[3]);
    assert_eq!((address, end % 4096), (loads[1][1], 0), "{headers}");
    assert!((end - 4096..=end).contains(&(loads[1][1] + loads[1][3])) || !far, "{headers}");
}

#[test]
fn the_example_runs_everywhere_and_is_fully_shareable() {
    for (linker, far) in [("bfd", true), ("lld", true), ("mold", false)] {
        let glibc = make("glibc", linker);
        check_shape(&glibc, far);
        assert_eq!(run(&mut Command::new(glibc.join("main"))), OUTPUT, "glibc, {linker}");
        let musl = make("musl", linker);
        check_shape(&musl, far);
        assert_eq!(run(&mut Command::new(musl.join("main"))), OUTPUT, "musl, {linker}");
        assert_eq!(run(Command::new(loader()).arg(musl.join("main"))), OUTPUT, "ld-morsel, {linker}");
    }
}

#[test]
fn an_ordinary_library_cannot_be_shared_and_is_told_why() {
    let stock = &inspect(&[STOCK.into()])[0];
    assert_eq!((&stock["shareable"], &stock["fully_shareable"]), (&Value::from(0), &Value::from(false)));
    assert!(stock["advice"].as_str().unwrap().contains("linker scripts"));
    let why = stock["segments"][0]["why_not"][0].as_str().unwrap();
    assert!(why.starts_with("all of it is in the same 2 MiB as the"), "{why}");
}

#[test]
fn code_is_certain_or_not_and_why() {
    let libraries = libraries(&make_in("code", "glibc", "lld"));
    let output = morselctl(&[&"inspect", &"--json", &"--code", &libraries[0], &libraries[1], &STOCK]);
    let described: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for library in &described[..2] {
        assert_eq!([&library["certain"], &library["movable"]], [true, true], "{library:#}");
        assert!(
            library["distances"].as_u64().unwrap() > 10 && library["stubs"].as_u64().unwrap() > 0,
            "{library:#}"
        );
    }
    assert_eq!(described[2]["certain"], false);
    let output = morselctl(&[&"inspect", &"--code", &libraries[0]]);
    assert!(
        text(&output.stdout).contains("certain, and its parts can be moved apart"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn text_relocations_keep_code_from_being_shared() {
    let dir = folder("inspect-textrel");
    let (source, library) = (dir.join("x.s"), dir.join("x.so"));
    fs::write(&source, ".text\n.globl f\nf: .quad f\n").unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-nostdlib", "-Wl,-z,notext,-z,noseparate-code,-z,max-page-size=0x200000", "-o"]);
    run(gcc.arg(&library).arg(&source));
    let library = &inspect(&[library])[0];
    assert_eq!(library["shareable"], 0);
    assert!(library["advice"].as_str().unwrap().contains("-fPIC"));
}

#[test]
fn a_file_that_is_no_library_does_not_hide_the_others() {
    let output = morselctl(&[&"inspect", &"/etc/passwd", &STOCK]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/etc/passwd: not an ELF file"));
    assert!(text(&output.stdout).contains(STOCK));
    assert!(refusal(&[&"inspect", &"/nowhere"]).contains("/nowhere"));
}
