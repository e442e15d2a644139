//! What `explain` says is what the loader does: which definition counts, who else has one, where libraries are found.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{STOCK, compile, compile_for, folder, loader, morselctl, text};
use serde_json::Value;

const PROGRAM: &str = r#"
#include <stdio.h>
const char *who(void); const char *versioned(void); extern int variable; extern int absent __attribute__((weak));
void *malloc(unsigned long size) { static char memory[1 << 16]; static unsigned long used; used += size + 15 & -16; return memory + used - (size + 15 & -16); }
int main(void) { printf("%s %s %d %d\n", who(), versioned(), variable, &absent != 0); }
"#;
const FIRST: &str = r#"
#include <stdlib.h>
const char *who(void) { return "first"; } int variable = 3;
const char *other(void); void *keep; const char *ask(void) { keep = malloc(1); return other(); } int *address(void) { return &variable; }
"#;
const SECOND: &str = r#"
const char *who(void) __attribute__((weak)); const char *who(void) { return "second"; } const char *other(void) { return who(); }
const char *versioned(void) { return "VERSION"; }
"#;

/// A program whose libraries interpose each other, found by a run path whose first directory lacks the second.
fn make(name: &str, interpreter: &Path) -> PathBuf {
    let dir = folder(name);
    for lib in ["early", "late"] {
        fs::create_dir(dir.join(lib)).unwrap();
    }
    let second = |version: &str| {
        let script = dir.join("script");
        fs::write(&script, format!("{version} {{ global: versioned; }};")).unwrap();
        let option = format!("-Wl,--version-script={}", script.display());
        let output = dir.join("late/libsecond.so");
        compile(&output, &SECOND.replace("VERSION", version), &["-shared", "-fPIC", &option]);
    };
    second("V1");
    let search = format!("-L{0}/early -L{0}/late -Wl,-rpath,{0}/early:{0}/late", dir.display());
    let options: Vec<&str> = search.split(' ').chain(["-no-pie", "-lfirst", "-lsecond"]).collect();
    compile(&dir.join("early/libfirst.so"), FIRST, &["-shared", "-fPIC"]);
    compile_for(interpreter, &dir.join("prog"), PROGRAM, &options);
    second("V2");
    dir
}

#[track_caller]
fn explain(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Value {
    let arguments = [&[&"explain" as &dyn AsRef<std::ffi::OsStr>, &"--json"], arguments].concat();
    let output = morselctl(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn symbol<'a>(explanation: &'a Value, name: &str) -> &'a Value {
    let symbols = explanation["symbols"].as_array().unwrap();
    symbols.iter().find(|symbol| symbol["name"] == name).unwrap()
}

/// The file names of objects by their numbers.
fn names(explanation: &Value) -> Vec<String> {
    let objects = explanation["objects"].as_array().unwrap().iter();
    let name = |object: &Value| object["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    objects.map(name).collect()
}

#[test]
fn the_order_of_the_search_decides_and_versions_do_not() {
    let dir = make("explain", &loader());
    let explanation = explain(&[&dir.join("prog")]);
    let libc = "ld-musl-x86_64.so.1";
    assert_eq!(names(&explanation), ["prog", "libfirst.so", "libsecond.so", "ld-morsel", libc]);
    assert_eq!(explanation["interpreter"], loader().display().to_string());
    let tried = &explanation["objects"][2]["tried"];
    assert_eq!(tried.as_array().unwrap().len(), 1);
    assert_eq!(tried[0]["path"], dir.join("early/libsecond.so").display().to_string());
    assert_eq!(tried[0]["why"], "No such file or directory");
    assert_eq!(explanation["objects"][2]["needed_by"], 0);

    let who = symbol(&explanation, "who");
    let providers: BTreeSet<_> = who["references"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reference| reference["provider"].as_u64())
        .collect();
    assert_eq!(providers, BTreeSet::from([Some(1)]));
    assert_eq!((&who["definitions"][0]["object"], &who["definitions"][1]["object"]), (&1.into(), &2.into()));
    assert_eq!(
        (&who["definitions"][0]["weak"], &who["definitions"][1]["weak"]),
        (&false.into(), &true.into())
    );

    // The program's own malloc stands before libc's, for everybody.
    let malloc = symbol(&explanation, "malloc");
    assert_eq!(
        (&malloc["references"][0]["from"], &malloc["references"][0]["provider"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        (&malloc["definitions"][1]["object"], &malloc["definitions"][1]["kind"]),
        (&4.into(), &"function".into())
    );

    // The program has a copy of the variable, which the library uses, too.
    let variable = symbol(&explanation, "variable")["references"].as_array().unwrap();
    let copied = variable.iter().find(|reference| reference["copy"] == true).unwrap();
    let shared = variable.iter().find(|reference| reference["copy"] == false).unwrap();
    assert_eq!((&copied["from"], &copied["provider"]), (&0.into(), &1.into()));
    assert_eq!((&shared["from"], &shared["provider"]), (&1.into(), &0.into()));

    let absent = &symbol(&explanation, "absent")["references"][0];
    assert_eq!((&absent["weak"], &absent["provider"]), (&true.into(), &Value::Null));

    let versioned = symbol(&explanation, "versioned");
    assert_eq!(versioned["references"][0]["version"], "V1");
    assert_eq!(versioned["definitions"][0]["version"], "V2");
    let output = morselctl(&[&"explain", &dir.join("prog"), &"versioned"]);
    assert!(
        text(&output.stdout).contains("version V1 is asked for and V2 taken"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn every_binding_is_the_loaders() {
    let dir = make("explain-trace", &loader());
    let explanation = explain(&[&dir.join("prog")]);
    let path =
        |number: &Value| explanation["objects"][number.as_u64().unwrap() as usize]["path"].as_str().unwrap();
    let told: BTreeSet<String> = explanation["symbols"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|symbol| {
            let name = symbol["name"].as_str().unwrap();
            let found = symbol["references"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|reference| !reference["provider"].is_null());
            found.map(move |reference| {
                format!("{}: {name} -> {}", path(&reference["from"]), path(&reference["provider"]))
            })
        })
        .collect();
    let output = Command::new(dir.join("prog"))
        .env("LD_MORSEL_LOG", "trace")
        .env("LD_MORSEL_IMAGE", "off")
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "first V2 3 0\n");
    let log = text(&output.stderr);
    let done = log
        .lines()
        .filter(|line| line.contains(" -> "))
        .map(|line| line[line.find('/').unwrap()..].to_owned());
    let done: BTreeSet<String> = done.collect();
    assert!(done.len() > 8, "{log}");
    assert_eq!(told, done);
}

#[test]
fn programs_of_other_loaders_and_libraries_are_explained_too() {
    let dir = make("explain-stock", Path::new(STOCK));
    for file in ["prog", "early/libfirst.so"] {
        let missing = file != "prog";
        let output = morselctl(&[&"explain", &"--json", &dir.join(file), &"--loader", &loader()]);
        let explanation: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(missing)), "{}", text(&output.stderr));
        let interpreter = if missing { Value::Null } else { Value::from(STOCK) };
        assert_eq!(explanation["interpreter"], interpreter);
    }
    // The library does not name the one that has what it wants.
    let output = morselctl(&[&"explain", &dir.join("early/libfirst.so"), &"other", &"--loader", &loader()]);
    assert!(text(&output.stdout).contains("libfirst.so -> nobody\n"), "{}", text(&output.stdout));
    let with = morselctl(&[
        &"explain",
        &dir.join("early/libfirst.so"),
        &"other",
        &"--loader",
        &loader(),
        &"--preload",
        &dir.join("late/libsecond.so"),
    ]);
    assert!(text(&with.stdout).contains("libsecond.so\n"), "{}", text(&with.stdout));
    assert!(with.status.success());
}

#[test]
fn what_is_missing_is_told_with_where_it_was_looked_for() {
    let dir = make("explain-missing", &loader());
    fs::remove_file(dir.join("late/libsecond.so")).unwrap();
    let output = morselctl(&[&"explain", &dir.join("prog")]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout.contains("Error loading shared library libsecond.so"), "{stdout}");
    for place in [dir.join("early"), dir.join("late")] {
        let line = format!("nor {}: No such file or directory", place.join("libsecond.so").display());
        assert!(stdout.contains(&line), "{stdout}");
    }
    assert!(
        text(&output.stderr).contains("1 libraries and 2 references are not satisfied"),
        "{}",
        text(&output.stderr)
    );
    let output = morselctl(&[&"explain", &dir.join("prog"), &"no_such_symbol"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nobody refers to no_such_symbol or defines it"));
    let output = morselctl(&[&"explain", &"/nowhere"]);
    assert!(text(&output.stderr).contains("/nowhere: No such file"));
}
