//! Libraries that are preloaded beside an image which knows nothing of them. What they interpose is compared with stock musl's
//! bindings elsewhere (`bindings.rs`); here is when the image is used, and what else stock musl does.

use std::process::Command;
use std::time::Duration;

use difftest::images::fixture::{A, B, Fixture, USUAL};
use difftest::run::{Ending, run};

/// Tells its name when it is constructed, and which objects there are.
const TELLTALE: &str = r#"
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <string.h>
static int tell(struct dl_phdr_info *info, size_t size, void *unused) {
    const char *slash = strrchr(info->dlpi_name, '/');
    if (info->dlpi_phnum && strncmp(slash ? slash + 1 : "", "l", 1) == 0 && !strstr(info->dlpi_name, "musl")) printf("%s,", slash + 1);
    return 0;
}
__attribute__((constructor)) static void hello(void) { printf("VERSION:"); dl_iterate_phdr(tell, 0); }
"#;

fn path(fixture: &Fixture, name: &str) -> String {
    fixture.path(name).display().to_string()
}

/// The program with the image does what it does under stock musl.
#[track_caller]
fn as_stock_musl(fixture: &Fixture, preload: &str) -> String {
    let mut stock = Command::new(fixture.libc());
    stock.arg(fixture.path("prog")).env_clear().env("LD_PRELOAD", preload);
    let stock = run(&mut stock, Duration::from_secs(10)).expect("stock musl");
    assert_eq!(stock.ending, Ending::Exit(0), "{stock:?}");
    let stock = stock.stdout.trim();
    fixture.uses_it(&[("LD_PRELOAD", preload)], stock);
    fixture.uses_it(&[("LD_PRELOAD", preload), ("LD_MORSEL_ASLR", "process")], stock);
    stock.to_owned()
}

#[test]
fn a_library_before_the_others() {
    let fixture = Fixture::new();
    fixture.library("other/libx.so", B, "x1");
    assert_eq!(as_stock_musl(&fixture, &path(&fixture, "other/libx.so")), "x1 a1 x1 7");
}

#[test]
fn thread_local_storage_before_that_of_a_member() {
    let fixture = Fixture::new();
    let text =
        "static __thread char own[100] = {1}; __thread int counter = 40; char *more(void) { return own; }";
    fixture.library("other/libx.so", text, "");
    assert_eq!(as_stock_musl(&fixture, &path(&fixture, "other/libx.so")), "b1 a1 b1 41");
}

#[test]
fn a_constructor_in_place_of_one_that_does_nothing() {
    let fixture = Fixture::new();
    let text = format!("{B}__attribute__((constructor)) void hook(void) {{}}");
    fixture.library("lib/libb.so", &text, "b1");
    fixture.build(&[]);
    fixture.uses_it(&[], USUAL);
    fixture.library("other/libx.so", "#include <stdio.h>\nvoid hook(void) { printf(\"hooked \"); }", "");
    assert_eq!(as_stock_musl(&fixture, &path(&fixture, "other/libx.so")), "hooked b1 a1 b1 7");
}

#[test]
fn constructors_and_objects_in_stock_musls_order() {
    let fixture = Fixture::new();
    fixture.library("lib/liba.so", &format!("{A}{TELLTALE}"), "a1");
    fixture.library("lib/libb.so", &format!("{B}{TELLTALE}"), "b1");
    fixture.library("other/libz.so", TELLTALE, "z");
    let source = fixture.source("y.c", &TELLTALE.replace("VERSION", "y"));
    let options = [
        "-shared",
        "-fPIC",
        "-Wl,--no-as-needed",
        "-Lother",
        "-lz",
        "-Llib",
        "-lb",
        "-Wl,-rpath,$ORIGIN:$ORIGIN/../lib",
    ];
    fixture.compile("other/liby.so", &source, &options);
    fixture.build(&[]);
    let (y, z) = (path(&fixture, "other/liby.so"), path(&fixture, "other/libz.so"));
    for preload in [y.clone(), format!("{z}:{y}"), format!("{y} {z}")] {
        as_stock_musl(&fixture, &preload);
    }
}

#[test]
fn nothing_that_can_be_preloaded() {
    let fixture = Fixture::new();
    assert_eq!(as_stock_musl(&fixture, " : "), USUAL);
    assert_eq!(as_stock_musl(&fixture, "/nowhere/libx.so:liby.so"), USUAL);
}

#[test]
fn a_member_that_is_the_first_anyway() {
    let fixture = Fixture::new();
    assert_eq!(as_stock_musl(&fixture, &path(&fixture, "lib/liba.so")), USUAL);
}

#[test]
fn an_image_for_one_preload_and_another_one_beside_it() {
    let fixture = Fixture::new();
    fixture.library("other/libx.so", B, "x1");
    fixture.library("other/liby.so", B, "y1");
    let (x, y) = (path(&fixture, "other/libx.so"), path(&fixture, "other/liby.so"));
    fixture.build(&["--preload", &x]);
    assert_eq!(as_stock_musl(&fixture, &format!("{x}:{y}")), "x1 a1 x1 7");
    assert_eq!(as_stock_musl(&fixture, &format!("{y}:{x}")), "y1 a1 y1 7");
    let why = "LD_PRELOAD: a library of the image is not loaded";
    fixture.refuses_it(&[("LD_PRELOAD", &y)], why, "y1 a1 y1 7");
}

#[test]
fn members_in_another_order() {
    let fixture = Fixture::new();
    let b = path(&fixture, "lib/libb.so");
    let why = "LD_PRELOAD: the image's libraries come in another order";
    fixture.refuses_it(&[("LD_PRELOAD", &b)], why, USUAL);
    fixture.refuses_it(&[("LD_PRELOAD", "libc.so")], why, USUAL);
    let required = format!("require:{}/", path(&fixture, "images"));
    let settings = [("LD_PRELOAD", b.as_str()), ("LD_MORSEL_IMAGE", &required)];
    let outcome = fixture.run_as(&fixture.path("prog"), &[], &settings);
    assert_eq!(outcome.ending, Ending::Exit(127));
    assert!(outcome.stderr.contains(why), "{outcome:?}");
}

#[test]
fn a_library_under_the_name_of_a_member() {
    let fixture = Fixture::new();
    fixture.library("other/libb.so", B, "b2");
    let other = path(&fixture, "other");
    fixture.build(&["--library-path", &other]);
    fixture.uses_it(&[("LD_LIBRARY_PATH", &other)], "b2 a1 b2 7");
    let settings = [("LD_LIBRARY_PATH", other.as_str()), ("LD_PRELOAD", "libb.so")];
    // It is the member itself, but comes before the other one.
    fixture.refuses_it(&settings, "LD_PRELOAD: the image's libraries come in another order", "b2 a1 b2 7");
}

#[test]
fn a_dependency_is_missing() {
    let fixture = Fixture::new();
    fixture.library("other/libz.so", B, "z1");
    let source = fixture.source("y.c", "int y;");
    fixture.compile("other/liby.so", &source, &["-shared", "-fPIC", "-Wl,--no-as-needed", "-Lother", "-lz"]);
    let y = path(&fixture, "other/liby.so");
    let outcome = fixture.run_as(&fixture.path("prog"), &[], &[("LD_PRELOAD", &y)]);
    assert_eq!(outcome.ending, Ending::Exit(127));
    let expected = format!("Error loading shared library libz.so: No such file or directory (needed by {y})");
    assert!(outcome.stderr.contains("is not used: LD_PRELOAD: a library cannot be loaded"), "{outcome:?}");
    assert_eq!(outcome.stderr.matches(&expected).count(), 1, "{outcome:?}");
}

#[test]
fn members_whose_thread_local_storage_waits() {
    let fixture = Fixture::new();
    let waiting = "static __thread char large[1 << 20]; char *get(void) { return large; }";
    fixture.library("lib/libb.so", &format!("{B}{waiting}"), "b1");
    fixture.build(&[]);
    fixture.uses_it(&[], USUAL);
    fixture.library("other/libx.so", B, "x1");
    assert_eq!(as_stock_musl(&fixture, &path(&fixture, "other/libx.so")), "x1 a1 x1 7");
    fixture.library("other/liby.so", &format!("{B} __thread int y = 1;"), "y1");
    let why = "LD_PRELOAD: thread-local storage of a library that waits for its first use";
    fixture.refuses_it(&[("LD_PRELOAD", &path(&fixture, "other/liby.so"))], why, "y1 a1 y1 7");
}
