//! Passes, and what is recorded for them.

use std::fs;
use std::process::{Command, Output};

use difftest::images::fixture::{B, Fixture, RUN_PATH, USUAL};
use difftest::run::Ending;
use difftest::worlds::morselctl;

/// A library with a page for each function and for each entry of its data.
const PAGES: &str = r#"
#define F(n) __attribute__((aligned(4096), noinline)) int f##n(int x) { return x * n; }
F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15) F(16) F(17) F(18) F(19) F(20)
__attribute__((aligned(4096))) static char data[64 * 4096] = { 1 };
void fill(int first, int count) { for (int page = first; page < first + count; page++) data[page * 4096] = 2; }
char read_data(int page) { return ((volatile char *)data)[page * 4096]; }
const char *where(void) { return data; }
"#;

/// Before `main` it calls one function and writes to 32 pages, afterwards it calls another.
const TOUCHES: &str = r#"
#include <stdio.h>
int f3(int), f17(int); void fill(int, int); char read_data(int);
__attribute__((constructor)) static void early(void) { f3(1); fill(8, 32); }
int main(void) { printf("%d %d\n", f17(1), read_data(20)); return 0; }
"#;

/// The tool with these arguments.
fn tool(arguments: &[&str]) -> Output {
    let mut command = Command::new(morselctl().expect("morselctl"));
    // Cargo sets it for tests; the images are for starts without it.
    command.args(arguments).env_remove("LD_LIBRARY_PATH").output().expect("morselctl")
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = tool(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn fails(arguments: &[&str], reason: &str) {
    let output = tool(arguments);
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(reason), "{said}");
}

/// A fixture whose program touches pages of `libpages.so`.
fn toucher() -> Fixture {
    let fixture = Fixture::new();
    fs::remove_file(fixture.image()).expect("the usual program's image");
    let source = fixture.source("pages.c", PAGES);
    fixture.compile("lib/libpages.so", &source, &["-shared", "-fPIC"]);
    let main = fixture.source("touches.c", TOUCHES);
    let interpreter = format!("-Wl,--dynamic-linker={}", fixture.loader().display());
    fixture.compile("prog", &main, &["-Llib", "-lpages", &interpreter, RUN_PATH]);
    fixture.build(&[]);
    fixture
}

/// The recording of a library, and the page of one of its symbols.
struct Recorded(serde_json::Value);

impl Recorded {
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(path).expect("a recording");
        let mode: serde_json::Value =
            serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        let libraries = mode["libraries"].as_array().expect("libraries");
        let library = libraries.iter().find(|library| library["path"].to_string().contains("libpages.so"));
        Self(library.expect("libpages.so").clone())
    }

    /// Whether a page is in a list.
    fn has(&self, list: &str, page: i64) -> bool {
        let runs = self.0[list].as_array().expect(list);
        runs.iter().any(|run| {
            let (first, pages) = (run[0].as_i64().expect("a page"), run[1].as_i64().expect("a count"));
            (first..first + pages).contains(&page)
        })
    }

    /// How many pages are in a list.
    fn count(&self, list: &str) -> u64 {
        let runs = self.0[list].as_array().expect(list);
        runs.iter().map(|run| run[1].as_u64().expect("a count")).sum()
    }
}

/// How many pages of all libraries a recording has for what comes before `main`.
fn touched_before_main(path: &str) -> u64 {
    let text = fs::read_to_string(path).expect("a recording");
    let mode: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let libraries = mode["libraries"].as_array().expect("libraries");
    libraries.iter().map(|library| Recorded(library.clone()).count("main")).sum()
}

/// The number of the page of a function: code is counted from a number that no other page has.
fn page_of(fixture: &Fixture, symbol: &str) -> i64 {
    const CODE: i64 = 1 << 52;
    let library = fixture.path("lib/libpages.so");
    let said = |tool: &str, option: &str| {
        let output = Command::new(tool).arg(option).arg(&library).output().expect(tool);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let page = |digits: &str| i64::from_str_radix(digits, 16).expect("digits") / 4096;
    let names = said("nm", "-D");
    let line = names.lines().find(|line| line.ends_with(&format!(" {symbol}"))).expect(symbol);
    let segments = said("readelf", "-lW");
    let code = segments.lines().find(|line| line.contains(" R E ")).expect("a segment of code");
    let start = code.split_whitespace().nth(2).expect("an address").trim_start_matches("0x");
    CODE + page(line.split(' ').next().expect("an address")) - page(start)
}

#[test]
fn what_is_touched_is_recorded_and_nothing_else() {
    let fixture = toucher();
    let path = |name: &str| fixture.path(name).display().to_string();
    let (image, recording) = (fixture.image().display().to_string(), path("recording"));
    let before = fs::read(&image).expect("the image");
    let record = |more: &[&str]| {
        let arguments = ["record", "--rounds", "0", "--image", &image, "-o", &recording];
        succeeds(&[&arguments, more, &[&path("prog")]].concat())
    };
    assert!(record(&["--runs", "2"]).contains("17 2\n"), "the program's own output");
    let recorded = Recorded::read(&recording);
    let [early, late, never] = ["f3", "f17", "f10"].map(|name| page_of(&fixture, name));
    assert!(recorded.has("main", early) && recorded.has("exit", early));
    assert!(!recorded.has("main", late) && recorded.has("exit", late));
    assert!(!recorded.has("exit", never), "a page of code that nobody has touched");
    assert_eq!(recorded.count("written"), 32);
    assert_eq!(fs::read(&image).expect("the image"), before);
    record(&["--append"]);
    assert_eq!(fs::read_to_string(&recording).expect("the recording").lines().count(), 2);
}

#[test]
fn what_was_recorded_is_mapped_at_once() {
    let fixture = toucher();
    let path = |name: &str| fixture.path(name).display().to_string();
    let (image, recording) = (fixture.image().display().to_string(), path("recording"));
    succeeds(&["record", "--rounds", "0", "--image", &image, "-o", &recording, &path("prog")]);
    let passes = format!("--passes=default,prefetch={recording}");
    let build = |passes: &str| succeeds(&["build", passes, "-o", &image, &path("prog")]);
    assert!(build(&passes).contains("prefetch: "));
    for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
        fixture.uses_it(settings, "17 2");
    }
    let inspected: serde_json::Value =
        serde_json::from_str(&succeeds(&["inspect", "--json", &image])).expect("JSON");
    let inspected = inspected.as_array().map_or(&inspected, |list| &list[0]);
    let calls = inspected["programs"][0]["populated"].as_u64().expect("a number");
    assert!(calls >= 1, "{inspected}");

    // The verdict counts.
    let text = fs::read_to_string(&recording).expect("the recording");
    let times = r#"{"rounds":100,"better":20,"without":1.0,"with":2.0}"#;
    let lost = text.replace("\"trial\":null", &format!("\"trial\":{{\"warm\":{times},\"cold\":{times}}}"));
    fs::write(&recording, &lost).expect("the recording");
    assert!(build(&passes).contains("off, since it did not pay"));
    fixture.uses_it(&[], "17 2");

    // Another build of the library is another matter.
    fs::write(&recording, &text).expect("the recording");
    let source = fixture.source("pages.c", &PAGES.replace("F(20)", "F(20) F(21) F(22)"));
    fixture.compile("lib/libpages.so", &source, &["-shared", "-fPIC"]);
    assert!(build(&passes).contains("another build has been recorded"));
    fixture.uses_it(&[], "17 2");

    fs::write(&recording, "nonsense").expect("the recording");
    fails(&["build", &passes, "-o", &image, &path("prog")], "line 1 is not of a recording");
}

#[test]
fn a_program_without_a_usable_image_is_not_recorded() {
    let fixture = Fixture::new();
    let path = |name: &str| fixture.path(name).display().to_string();
    let (image, recording) = (fixture.image().display().to_string(), path("recording"));
    let record = ["record", "--rounds", "0", "--image", &image, "-o", &recording, &path("prog")];
    succeeds(&record);
    fixture.library("lib/libb.so", B, "b2");
    fails(&record, "libb.so has changed");
    fails(&["record", "--image", &path("prog"), &path("prog")], "is not an image");
}

#[test]
fn only_files_of_the_list_come_into_an_image() {
    let fixture = Fixture::new();
    let path = |name: &str| fixture.path(name).display().to_string();
    let inputs = [
        path("prog"),
        path("lib/liba.so"),
        path("lib/libb.so"),
        fixture.libc().display().to_string(),
        fixture.loader().display().to_string(),
    ];
    let sums = |inputs: &[String]| {
        let output = Command::new("sha256sum").args(inputs).output().expect("sha256sum");
        String::from_utf8(output.stdout).expect("text")
    };
    let all = sums(&inputs);
    let (list, passes) = (path("list"), format!("--passes=verify={}", path("list")));
    let image = fixture.image().display().to_string();
    let prog = path("prog");
    let build = ["build", &passes, "-o", &image, &prog];
    fs::write(&list, &all).expect("list");
    assert!(succeeds(&build).contains("verify: all 5 files are as"));
    fixture.uses_it(&[], USUAL);
    assert!(succeeds(&["inspect", "--json", &image]).contains("verify="));

    for missing in &inputs {
        let others: Vec<&str> = all.lines().filter(|line| !line.ends_with(missing.as_str())).collect();
        fs::write(&list, others.join("\n")).expect("list");
        fails(&build, "it is not in");
    }
    fs::write(&list, "liba.so: known\n").expect("list");
    fails(&build, "line 1 is not a SHA-256 and a path");
    fs::remove_file(&list).expect("list");
    fails(&build, "No such file");
    fs::write(&list, &all).expect("list");
    fixture.library("lib/libb.so", B, "b2");
    fails(&build, "lib/libb.so: its SHA-256 is");
    let outcome = fixture.run_as(&fixture.path("prog"), &[], &[]);
    assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), "b2 a1 b2 7"));
}

/// What `morselctl inspect --json` says of the fixture's image.
fn inspect(fixture: &Fixture) -> serde_json::Value {
    let found = succeeds(&["inspect", "--json", &fixture.image().display().to_string()]);
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    found.as_array().map_or(found.clone(), |list| list[0].clone())
}

#[test]
fn a_recording_is_good_for_other_shapes_of_libraries() {
    let fixture = toucher();
    let path = |name: &str| fixture.path(name).display().to_string();
    let (image, prog, recording) = (fixture.image().display().to_string(), path("prog"), path("recording"));
    for (recorded, used) in [("default", "default,concatenate"), ("default,concatenate", "default")] {
        succeeds(&["build", "--passes", recorded, "-o", &image, &prog]);
        succeeds(&["record", "--rounds", "0", "--runs", "1", "--image", &image, "-o", &recording, &prog]);
        let recorded = Recorded::read(&recording);
        assert_eq!(recorded.count("written"), 32);
        assert!(recorded.has("main", page_of(&fixture, "f3")));
        let passes = format!("--passes={used},direct-calls,order=random,prefetch={recording}");
        let said = succeeds(&["build", &passes, "-o", &image, &prog]);
        // All pages that were recorded are found again, libc's with them.
        let touched = touched_before_main(&recording);
        assert!(said.contains(&format!("of {touched} that starts touch, by 1 of 1 modes")), "{said}");
        assert!(inspect(&fixture)["programs"][0]["populated"].as_u64() >= Some(1), "{said}");
        for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
            fixture.uses_it(settings, "17 2");
        }
    }
}

#[test]
fn each_program_of_an_image_has_its_own_recording() {
    let fixture = toucher();
    let path = |name: &str| fixture.path(name).display().to_string();
    let (image, prog, other, recording) =
        (fixture.image().display().to_string(), path("prog"), path("other/prog"), path("recording"));
    fs::copy(&prog, &other).expect("a copy");
    std::os::unix::fs::symlink("../lib", fixture.path("other/lib")).expect("a link");
    let images = path("images");
    let shared = |passes: &str| succeeds(&["build", passes, &prog, &other, "--into", &images]);
    shared("--passes=none");
    succeeds(&["record", "--rounds", "0", "--image", &image, "-o", &recording, &other]);
    let said = shared(&format!("--passes=prefetch={recording}"));
    assert!(said.contains(&format!("{other}: 32 pages in 1 calls")), "{said}");
    assert!(said.contains(&format!("{prog}: nothing has been recorded")), "{said}");
    let calls: Vec<_> =
        (0..2).map(|program| inspect(&fixture)["programs"][program]["populated"].as_u64()).collect();
    assert_eq!(calls, [Some(0), Some(1)]);
    fixture.uses_it(&[], "17 2");
    let outcome = fixture.run_as(&fixture.path("other/prog"), &[], &[]);
    assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
    assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), "17 2"));
}

#[test]
fn libraries_lie_in_the_order_wanted() {
    let fixture = Fixture::new();
    let list = fixture.path("list");
    // Where the first library is.
    let place = |lines: &str, more: &str| {
        fs::write(&list, lines).expect("list");
        let passes = format!("order={}{more}", list.display());
        fixture.build(&["--passes", &passes]);
        let outcome = fixture.run_as(&fixture.path("prog"), &["where"], &[]);
        let address = outcome.stdout.lines().last().and_then(|line| line.strip_prefix("0x"));
        let address = u64::from_str_radix(address.expect("an address"), 16).expect("an address");
        address - inspect(&fixture)["base"].as_u64().expect("a base")
    };
    for more in ["", ",concatenate,huge-pages,direct-calls"] {
        let (first, last) = (place("liba.so\nlibb.so\n", more), place("libb.so\nliba.so\n", more));
        assert!(first < last, "{first:#x} {last:#x}");
        assert_eq!(place("# libb.so is not in it\nliba.so\n", more), first);
    }
    fs::write(&list, "lib/liba.so\n").expect("list");
    let (image, prog) = (fixture.image().display().to_string(), fixture.path("prog").display().to_string());
    let passes = format!("--passes=order={}", list.display());
    fails(
        &["build", &passes, "-o", &image, &prog],
        "list: line 1: `lib/liba.so` is neither a name nor an absolute path",
    );
}

#[test]
fn all_passes_go_together() {
    let fixture = Fixture::new();
    let inputs = [fixture.path("prog"), fixture.path("lib/liba.so"), fixture.path("lib/libb.so")];
    let inputs = inputs.iter().map(|path| path.as_path()).chain([fixture.libc(), fixture.loader()]);
    let sums = Command::new("sha256sum").args(inputs).output().expect("sha256sum").stdout;
    let [list, recording] = ["list", "recording"].map(|name| fixture.path(name).display().to_string());
    fs::write(&list, sums).expect("list");
    let (image, prog) = (fixture.image().display().to_string(), fixture.path("prog").display().to_string());
    succeeds(&["record", "--rounds", "0", "--image", &image, "-o", &recording, &prog]);
    let all = [
        format!("verify={list}"),
        "order=random".to_owned(),
        "concatenate".to_owned(),
        "huge-pages".to_owned(),
        "direct-calls".to_owned(),
        format!("prefetch={recording}"),
    ];
    for set in 0..1 << all.len() {
        let chosen = all.iter().enumerate().filter(|(number, _)| set >> number & 1 != 0);
        let chosen: Vec<&str> = chosen.map(|(_, pass)| pass.as_str()).collect();
        let passes = if chosen.is_empty() { "none".to_owned() } else { chosen.join(",") };
        fixture.build(&["--passes", &passes]);
        assert_eq!(inspect(&fixture)["programs"][0]["passes"].as_str(), Some(&*passes));
        fixture.uses_it(&[], USUAL);
    }
    fails(
        &["build", "--passes=order=random,order=/list", "-o", &image, &prog],
        "the pass `order` is there twice",
    );
}
