//! The life of an image: built twice at once, by builders that are killed or find no room, made anew, removed.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use difftest::images::fixture::{B, Fixture, USUAL};
use difftest::worlds::morselctl;

/// Where the base is in the file (`image::format::Header`).
const BASE: Range<usize> = 96..104;

#[test]
fn two_builds_of_a_program_have_different_places() {
    let fixture = Fixture::new();
    let first = fs::read(fixture.image()).expect("read");
    fixture.build(&[]);
    let second = fs::read(fixture.image()).expect("read");
    assert_ne!(first[BASE], second[BASE]);
}

#[test]
fn images_are_made_anew_where_something_has_changed() {
    let fixture = Fixture::new();
    let images = fixture.path("images").display().to_string();
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(morselctl().expect("morselctl"));
        command.args(arguments).output().expect("morselctl")
    };
    let image = fixture.image().display().to_string();
    let before = fs::read(&image).expect("read");
    assert!(tool(&["verify", &image]).status.success());
    assert!(tool(&["refresh", &images]).status.success());
    assert_eq!(fs::read(&image).expect("read"), before, "nothing has changed");
    fixture.library("lib/libb.so", B, "b9");
    assert!(!tool(&["verify", &image]).status.success());
    assert!(tool(&["refresh", &images]).status.success());
    fixture.uses_it(&[], "b9 a1 b9 7");
    fs::remove_file(fixture.path("prog")).expect("remove");
    assert!(tool(&["refresh", &images]).status.success());
    assert!(!Path::new(&image).exists(), "it is for nobody");
}

#[test]
fn many_build_it_at_once() {
    let fixture = Fixture::new();
    let mut builders: Vec<_> = (0..8).map(|_| fixture.builder(&[]).spawn().expect("morselctl")).collect();
    while let Some(mut builder) = builders.pop() {
        fixture.uses_it(&[], USUAL);
        assert!(builder.wait().expect("morselctl").success());
    }
    fixture.uses_it(&[], USUAL);
}

#[test]
fn its_builder_is_killed() {
    let fixture = Fixture::new();
    for milliseconds in 0..30 {
        let mut builder = fixture.builder(&[]).spawn().expect("morselctl");
        std::thread::sleep(Duration::from_millis(milliseconds));
        // It may have finished.
        let _ = builder.kill();
        builder.wait().expect("morselctl");
        fixture.uses_it(&[], USUAL);
    }
}

#[test]
fn the_disk_is_full() {
    let fixture = Fixture::new();
    let small = fixture.path("small");
    fs::create_dir(&small).expect("mkdir");
    let mounted =
        |arguments: &[&str]| Command::new("mount").args(arguments).arg(&small).status().expect("mount");
    assert!(mounted(&["-t", "tmpfs", "-o", "size=64k,mode=755", "none"]).success());
    let target = small.join("image");
    let output = fixture.builder(&["-o", &target.display().to_string()]).output().expect("morselctl");
    let left = fs::read_dir(&small).expect("small").count();
    assert!(Command::new("umount").arg(&small).status().expect("umount").success());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left on device"), "{output:?}");
    assert_eq!(left, 0, "nothing may be left behind");
}

#[test]
fn what_cannot_have_an_image_is_told_why() {
    let fixture = Fixture::new();
    fixture.compile(
        "lib/libb.so",
        &fixture.source("b.s", ".globl b\nb: movabs $b, %rax\nret\n"),
        &["-shared", "-Wl,-z,notext"],
    );
    let output = fixture.builder(&[]).output().expect("morselctl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("libb.so"), "{said}");
}
