//! What is checked: each rule is broken once, and the program must do what it does without an image.

use std::fs::{self, File, OpenOptions, Permissions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use difftest::images::fixture::{A, B, Fixture, RUN_PATH, USUAL};
use difftest::run::{Ending, run};
use difftest::worlds::morselctl;
use object::{Object as _, ObjectSection as _};

/// Where the image's header is in the file, and what is where in it (`image::format::Header`).
const HEADER_AT: usize = 64;
const VERSION_AT: usize = HEADER_AT + 8;
const BUILD_ID_AT: usize = HEADER_AT + 12;
const TABLES_AT: usize = HEADER_AT + 88;
const TABLES_SIZE_AT: usize = HEADER_AT + 96;
const HEADER_END: usize = HEADER_AT + 112;

/// A program that looks a function up that it could call.
const LATE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#define RTLD_DI_SERINFOSIZE 5
const char *a(void); const char *b(void);
int main(void) {
    struct link_map *map;
    struct { size_t size; unsigned count; } search;
    printf("%s %s ", a(), b());
    for (map = dlopen(0, RTLD_LAZY); map; map = map->l_next) dlinfo(map, RTLD_DI_SERINFOSIZE, &search);
    puts(dlsym(RTLD_DEFAULT, "b") ? "found" : dlerror());
}
"#;

/// Where a section is in the image's file.
fn section(image: &[u8], name: &str) -> Range<usize> {
    let file = object::File::parse(image).expect("an ELF file");
    let range = file.section_by_name(name).and_then(|section| section.file_range());
    let (start, size) = range.expect("the section");
    start as usize..(start + size) as usize
}

fn word(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a word")) as usize
}

#[test]
fn an_unchanged_program_uses_its_image() {
    Fixture::new().uses_it(&[], USUAL);
}

#[test]
fn a_library_was_replaced() {
    let fixture = Fixture::new();
    fixture.library("new.so", B, "b2");
    fs::rename(fixture.path("new.so"), fixture.path("lib/libb.so")).expect("rename");
    fixture.refuses_it(&[], &format!("{}", fixture.path("lib/libb.so").display()), "b2 a1 b2 7");
}

#[test]
fn a_library_was_edited_in_place() {
    let fixture = Fixture::new();
    let path = fixture.path("lib/libb.so");
    let bytes = fs::read(&path).expect("read");
    let at = bytes.windows(3).position(|text| text == b"b1\0").expect("the text") as u64;
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    file.write_all_at(b"b3", at).expect("write");
    drop(file);
    fixture.refuses_it(&[], &format!("{} has changed", path.display()), "b3 a1 b3 7");
}

#[test]
fn a_library_was_edited_and_its_time_set_back() {
    let fixture = Fixture::new();
    let path = fixture.path("lib/libb.so");
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("times");
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    file.set_modified(modified).expect("times");
    drop(file);
    fixture.refuses_it(&[], &format!("{} has changed", path.display()), USUAL);
}

#[test]
fn a_library_was_removed() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("lib/libb.so")).expect("remove");
    let outcome = fixture.run_as(&fixture.path("prog"), &[], &[]);
    assert_eq!(outcome.ending, Ending::Exit(127));
    assert!(outcome.stderr.contains("Error loading shared library libb.so: No such file"), "{outcome:?}");
}

#[test]
fn a_library_appeared_earlier_in_the_search_path() {
    let fixture = Fixture::new();
    fixture.library("early/libb.so", B, "b4");
    let reason = format!("{} was not there", fixture.path("early/libb.so").display());
    fixture.refuses_it(&[], &reason, "b4 a1 b4 7");
}

#[test]
fn an_early_library_now_defines_a_symbol_of_a_later_one() {
    let fixture = Fixture::new();
    fixture.library("lib/liba.so", &format!("{A}{B}"), "a5");
    fixture.refuses_it(&[], &format!("{} has changed", fixture.path("lib/liba.so").display()), "a5 a5 a5 7");
}

#[test]
fn the_program_was_changed_in_place() {
    let fixture = Fixture::new();
    let copy = fs::read(fixture.path("prog")).expect("read");
    fs::write(fixture.path("prog"), copy).expect("write");
    fixture.refuses_it(&[], "made for other circumstances: the program's file", USUAL);
}

#[test]
fn the_program_has_another_name_elsewhere() {
    let fixture = Fixture::new();
    let other = fixture.path("other/prog");
    fs::hard_link(fixture.path("prog"), &other).expect("link");
    fixture.build(&[]);
    fixture.uses_it(&[], USUAL);
    // Its $ORIGIN/lib is another directory.
    let outcome = fixture.run_as(&other, &[], &[]);
    assert_eq!(outcome.ending, Ending::Exit(127));
    assert!(outcome.stderr.contains("the program's path ($ORIGIN)"), "{outcome:?}");
}

#[test]
fn the_program_is_called_by_another_path_that_leads_to_it() {
    let fixture = Fixture::new();
    symlink(fixture.path("prog"), fixture.path("other/link")).expect("link");
    for path in ["other/link", "other/../prog"] {
        let outcome = fixture.run_as(&fixture.path(path), &[], &[]);
        assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL));
    }
}

#[test]
fn the_environment_is_another() {
    let fixture = Fixture::new();
    fixture.library("other/libb.so", B, "b6");
    let other = fixture.path("other").display().to_string();
    fixture.refuses_it(
        &[("LD_LIBRARY_PATH", &other)],
        "made for other circumstances: LD_LIBRARY_PATH",
        "b6 a1 b6 7",
    );
    let libc = fixture.libc().display().to_string();
    fixture.refuses_it(&[("LD_MORSEL_LIBC", &libc)], "made for other circumstances: LD_MORSEL_LIBC", USUAL);
}

#[test]
fn an_image_can_be_made_for_an_environment() {
    let fixture = Fixture::new();
    fixture.library("other/libb.so", B, "b7");
    let other = fixture.path("other").display().to_string();
    fixture.build(&["--library-path", &other]);
    fixture.uses_it(&[("LD_LIBRARY_PATH", &other)], "b7 a1 b7 7");
    fixture.refuses_it(&[], "made for other circumstances: LD_LIBRARY_PATH", USUAL);
    let preload = fixture.path("other/libb.so").display().to_string();
    fixture.build(&["--preload", &preload]);
    fixture.uses_it(&[("LD_PRELOAD", &preload)], "b7 a1 b7 7");
    fixture.refuses_it(&[], "made for other circumstances: LD_PRELOAD", USUAL);
}

#[test]
fn the_system_path_file_has_changed() {
    let fixture = Fixture::new();
    // The path file is sought near the loader.
    for directory in ["near", "near/lib", "near/etc"] {
        fs::create_dir(fixture.path(directory)).expect(directory);
    }
    let loader = fixture.path("near/lib/ld");
    fs::copy(fixture.loader(), &loader).expect("copy");
    let path_file = fixture.path("near/etc/ld-musl-x86_64.path");
    fs::write(&path_file, fixture.path("lib").display().to_string()).expect("write");
    fixture.link(&loader, &[]);
    fixture.build(&[]);
    fixture.uses_it(&[], USUAL);
    fixture.library("other/libb.so", B, "b8");
    let both = format!("{}:{}", fixture.path("other").display(), fixture.path("lib").display());
    fs::write(&path_file, both).expect("write");
    fixture.refuses_it(&[], &format!("{} has changed", path_file.display()), "b8 a1 b8 7");
}

#[test]
fn others_may_write_to_it_or_to_its_directory() {
    let fixture = Fixture::new();
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    set(&fixture.image(), 0o464);
    fixture.refuses_it(&[], "others may write to it", USUAL);
    set(&fixture.image(), 0o444);
    set(&fixture.path("images"), 0o757);
    fixture.refuses_it(&[], "others may write to its directory", USUAL);
    set(&fixture.path("images"), 0o755);
    fixture.uses_it(&[], USUAL);
}

#[test]
fn it_belongs_to_somebody_else() {
    let fixture = Fixture::new();
    chown(fixture.image(), Some(12345), None).expect("chown");
    fixture.refuses_it(&[], "it belongs to user 12345", USUAL);
}

#[test]
fn it_is_for_another_loader_or_format() {
    let fixture = Fixture::new();
    let change = |at: usize| {
        let file = OpenOptions::new().read(true).write(true).open(fixture.image()).expect("open");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).expect("read");
        file.write_all_at(&[byte[0] ^ 1], at as u64).expect("write");
        byte[0]
    };
    change(BUILD_ID_AT);
    fixture.refuses_it(&[], "made for another build of ld-morsel", USUAL);
    change(BUILD_ID_AT);
    let version = change(VERSION_AT);
    fixture.refuses_it(&[], &format!("format version {}, not {version}", version ^ 1), USUAL);
}

#[test]
fn it_is_cut_off() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.image()).expect("read");
    let tables = word(&whole, TABLES_AT);
    for length in [0, 1, 63, 64, 100, HEADER_END, 4095, 4096, 100_000, tables, tables + 9, tables + 2000] {
        fs::remove_file(fixture.image()).expect("remove");
        let name = fixture.path("images/new");
        fs::write(&name, &whole[..length]).expect("write");
        fs::rename(&name, fixture.image()).expect("rename");
        fixture.refuses_it(&[], "damaged: ", USUAL);
    }
}

#[test]
fn any_bit_of_its_index_is_wrong() {
    let fixture = Fixture::new();
    fixture.library("other/libx.so", B, "x1");
    let preload = fixture.path("other/libx.so").display().to_string();
    let preload = [("LD_PRELOAD", preload.as_str())];
    fixture.uses_it(&preload, "x1 a1 x1 7");
    let whole = fs::read(fixture.image()).expect("read");
    let index = section(&whole, ".morsel.references:prog").start;
    fs::set_permissions(fixture.image(), Permissions::from_mode(0o644)).expect("chmod");
    let file = File::options().write(true).open(fixture.image()).expect("open");
    for at in index..index + 24 {
        file.write_all_at(&[whole[at] ^ 1 << (at % 8)], at as u64).expect("write");
        fixture.refuses_it(&preload, "damaged: its index", "x1 a1 x1 7");
        fixture.uses_it(&[], USUAL);
        file.write_all_at(&whole[at..=at], at as u64).expect("write");
    }
}

#[test]
fn any_bit_of_what_it_tells_of_members_is_wrong() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.image()).expect("read");
    let details = section(&whole, ".morsel.details:prog");
    fs::set_permissions(fixture.image(), Permissions::from_mode(0o644)).expect("chmod");
    let file = File::options().write(true).open(fixture.image()).expect("open");
    let (mut used, mut refused) = (0, 0);
    for at in details.step_by(5) {
        file.write_all_at(&[whole[at] ^ 1 << (at % 8)], at as u64).expect("write");
        let outcome = fixture.run_as(&fixture.path("prog"), &[], &[]);
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL), "byte {at}");
        match outcome.stderr.contains("is not used: damaged: what it tells of its members") {
            true => refused += 1,
            // Nobody asks for the second library.
            false => used += 1,
        }
        file.write_all_at(&whole[at..=at], at as u64).expect("write");
    }
    assert!(used > 0 && refused > 0, "{used}, {refused}");
}

#[test]
fn what_it_tells_of_a_member_is_wrong_and_wanted_late() {
    let fixture = Fixture::new();
    fixture.source("main.c", LATE);
    fixture.link(fixture.loader(), &[RUN_PATH]);
    fixture.build(&[]);
    fixture.uses_it(&[], "b1 a1 b1 found");
    let whole = fs::read(fixture.image()).expect("read");
    fs::set_permissions(fixture.image(), Permissions::from_mode(0o644)).expect("chmod");
    let file = File::options().write(true).open(fixture.image()).expect("open");
    let mut told = 0;
    for at in section(&whole, ".morsel.details:prog").step_by(5) {
        file.write_all_at(&[whole[at] ^ 1 << (at % 8)], at as u64).expect("write");
        let outcome = fixture.run_as(&fixture.path("prog"), &[], &[]);
        let told_so =
            format!("b1 a1 b1 Error loading shared library {}", fixture.path("lib/libb.so").display());
        assert_eq!(outcome.ending, Ending::Exit(0), "byte {at}");
        match outcome.stdout.starts_with(&told_so) {
            true => told += 1,
            false => assert_eq!(outcome.stdout.trim(), "b1 a1 b1 found", "byte {at}"),
        }
        file.write_all_at(&whole[at..=at], at as u64).expect("write");
    }
    assert!(told > 0);
    let mut command = Command::new(morselctl().expect("morselctl"));
    let at = section(&whole, ".morsel.details:prog").start;
    file.write_all_at(&[whole[at] ^ 1], at as u64).expect("write");
    let outcome =
        run(command.arg("verify").arg(fixture.image()), Duration::from_secs(10)).expect("morselctl");
    assert!(outcome.stderr.contains("is damaged"), "{outcome:?}");
}

#[test]
fn any_bit_of_its_tables_is_wrong() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.image()).expect("read");
    let (tables, size) = (word(&whole, TABLES_AT), word(&whole, TABLES_SIZE_AT));
    fs::set_permissions(fixture.image(), Permissions::from_mode(0o644)).expect("chmod");
    let file = File::options().write(true).open(fixture.image()).expect("open");
    // A prime step meets all kinds of fields and all bits.
    let offsets = (HEADER_AT..HEADER_END).chain((tables..tables + size).step_by(7));
    for (count, at) in offsets.enumerate() {
        file.write_all_at(&[whole[at] ^ 1 << (count % 8)], at as u64).expect("write");
        let outcome = fixture.run_as(&fixture.path("prog"), &[], &[]);
        assert!(outcome.stderr.contains("is not used: "), "byte {at}: {outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL), "byte {at}");
        file.write_all_at(&whole[at..=at], at as u64).expect("write");
    }
    fixture.uses_it(&[], USUAL);
}
