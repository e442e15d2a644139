//! What is in an image: libraries that several programs share, and libraries whose segments are far apart.

use std::fs;
use std::process::Command;

use difftest::images::fixture::{A, B, Fixture, RUN_PATH, USUAL};
use difftest::run::Ending;
use difftest::worlds::morselctl;

/// What `morselctl inspect --json` says of the image.
fn inspect(fixture: &Fixture) -> serde_json::Value {
    let mut command = Command::new(morselctl().expect("morselctl"));
    let output = command.args(["inspect", "--json"]).arg(fixture.image()).output().expect("morselctl");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    found.as_array().map_or(found.clone(), |list| list[0].clone())
}

#[test]
fn programs_share_an_image() {
    let fixture = Fixture::new();
    // Another program with the same libraries, one of which binds to what the program defines.
    let other = fixture.source(
        "other.c",
        "#include <stdio.h>\nconst char *a(void); const char *b(void) { return \"mine\"; }\nint main(void) { puts(a()); }",
    );
    let interpreter = format!("-Wl,--dynamic-linker={}", fixture.loader().display());
    fixture.compile("prog2", &other, &["-Llib", "-la", "-lb", &interpreter, RUN_PATH, "-rdynamic"]);
    let second = fixture.path("prog2");
    fixture.build(&[&second.display().to_string()]);
    let names = fs::read_dir(fixture.path("images")).expect("images").count();
    assert_eq!(names, 2, "one name for each program");
    assert_eq!(inspect(&fixture)["programs"].as_array().map(Vec::len), Some(2));
    for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
        fixture.uses_it(settings, USUAL);
        let outcome = fixture.run_as(&second, &[], settings);
        assert!(outcome.stderr.contains(" INFO  image /"), "{outcome:?}");
        assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), "mine a1"));
    }
    fixture.library("other/libx.so", A, "x1");
    let preload = fixture.path("other/libx.so").display().to_string();
    for place in ["image", "process"] {
        let settings = [("LD_PRELOAD", preload.as_str()), ("LD_MORSEL_ASLR", place)];
        fixture.uses_it(&settings, "b1 x1 b1 7");
        let outcome = fixture.run_as(&second, &[], &settings);
        assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), "mine x1"));
    }
}

#[test]
fn an_image_serves_only_its_programs() {
    let fixture = Fixture::new();
    fs::copy(fixture.path("prog"), fixture.path("copy")).expect("copy");
    let image = fixture.image().display().to_string();
    let outcome = fixture.run_as(&fixture.path("copy"), &[], &[("LD_MORSEL_IMAGE", &image)]);
    assert!(outcome.stderr.contains("is not used: made for other programs"), "{outcome:?}");
    assert_eq!(outcome.stdout.trim(), USUAL);
}

#[test]
fn segments_that_are_far_apart_are_gathered() {
    let fixture = Fixture::new();
    let script = concat!("-Wl,-T,", env!("CARGO_MANIFEST_DIR"), "/../linker-scripts/morsel.ld");
    let options =
        ["-shared", "-fPIC", script, "-Wl,-z,now", "-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=0x200000"];
    for (name, text, version) in [("lib/liba.so", A, "a1"), ("lib/libb.so", B, "b1")] {
        let source = fixture.source("library.c", &text.replace("VERSION", version));
        fixture.compile(name, &source, &options);
    }
    fixture.build(&[]);
    fixture.library("other/libx.so", B, "x1");
    let preload = fixture.path("other/libx.so").display().to_string();
    for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
        fixture.uses_it(settings, USUAL);
        fixture.uses_it(&[settings, &[("LD_PRELOAD", &preload)]].concat(), "x1 a1 x1 7");
    }
    // libc's code and data, and all code of the two libraries.
    let program = &inspect(&fixture)["programs"][0];
    assert_eq!((program["windows"].as_u64(), program["regions"].as_u64()), (Some(3), Some(3)), "{program}");
}

#[test]
fn parts_of_ordinary_libraries_are_gathered() {
    let fixture = Fixture::new();
    for passes in ["default,concatenate", "order=random,concatenate"] {
        let image = fixture.image();
        fs::remove_file(&image).expect("the image");
        fixture.build(&["--passes", passes]);
        for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
            fixture.uses_it(settings, USUAL);
        }
        // libc's code and data: what is far away is as its window, the code of the two libraries included.
        let program = &inspect(&fixture)["programs"][0];
        let found = (program["windows"].as_u64(), program["regions"].as_u64());
        assert_eq!(found, (Some(4), Some(2)), "{program}");
    }
}
