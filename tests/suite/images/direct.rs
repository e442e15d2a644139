//! The pass `direct-calls`: what becomes direct, what does not, and that it is proved.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use difftest::images::fixture::{A, Fixture, RUN_PATH, USUAL};
use difftest::worlds::morselctl;
use object::{Object as _, ObjectSection as _};

/// A direct call in the place of one through a slot, and that. No compiler writes the first.
const DIRECT: &[u8] = &[0x67, 0xe8];
const THROUGH_SLOT: &[u8] = &[0xff, 0x15];

/// A fixture whose first library calls the second, and libc, through slots, without stubs.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    library(&fixture, &["-fno-plt", "-O2"]);
    fixture
}

fn library(fixture: &Fixture, options: &[&str]) {
    let text = A.replace("VERSION", "a1").replace("fputs(through_data()", "fputs(b()");
    let source = fixture.source("library.c", &text);
    fixture.compile("lib/liba.so", &source, &[&["-shared", "-fPIC"], options].concat());
}

/// Builds the image, with direct calls if nothing is said of passes, and returns what the tool says.
fn built(fixture: &Fixture, options: &[&str]) -> String {
    let usual: &[&str] = &["--passes", "default,direct-calls"];
    let options = if options.contains(&"--passes") { options } else { &[options, usual].concat() };
    let output = fixture.builder(options).stdout(Stdio::piped()).output().expect("morselctl");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What `morselctl verify` says of the image, and whether it finds it sound.
fn verified(fixture: &Fixture) -> (bool, String) {
    let mut command = Command::new(morselctl().expect("morselctl"));
    let output = command.arg("verify").arg(fixture.image()).output().expect("morselctl");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).expect("text"))
}

/// Where in the image's file the code of the first library has these bytes.
fn places(image: &[u8], what: &[u8]) -> Vec<usize> {
    let file = object::File::parse(image).expect("an ELF file");
    let code = file.section_by_name(".text:liba.so").and_then(|section| section.file_range());
    let (start, size) = code.expect("the library's code");
    let code = &image[start as usize..(start + size) as usize];
    let found = code.windows(what.len()).enumerate().filter(|(_, window)| *window == what);
    found.map(|(at, _)| start as usize + at).collect()
}

/// Writes an image's bytes, which the owner may do with a copy only.
fn replace(image: &Path, bytes: &[u8]) {
    let mode = fs::metadata(image).expect("the image").permissions().mode();
    fs::remove_file(image).expect("the image");
    fs::write(image, bytes).expect("the image");
    fs::set_permissions(image, fs::Permissions::from_mode(mode)).expect("the image");
}

#[test]
fn calls_become_direct_and_stay_so_where_the_image_is_moved() {
    let fixture = fixture();
    let said = built(&fixture, &[]);
    assert!(said.contains(" lead straight to their targets"), "{said}");
    let (sound, said) = verified(&fixture);
    assert!(sound && said.contains("made direct in "), "{said}");
    assert!(places(&fs::read(fixture.image()).expect("the image"), DIRECT).len() >= 2);
    for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
        fixture.uses_it(settings, USUAL);
    }
}

#[test]
fn without_the_pass_code_stays_what_it_was() {
    let fixture = fixture();
    built(&fixture, &["--passes", "none"]);
    let (sound, said) = verified(&fixture);
    assert!(sound && !said.contains("proved"), "{said}");
    assert!(places(&fs::read(fixture.image()).expect("the image"), DIRECT).is_empty());
    fixture.uses_it(&[], USUAL);
}

#[test]
fn a_wrong_call_is_found() {
    let fixture = fixture();
    built(&fixture, &[]);
    let sound = fs::read(fixture.image()).expect("the image");
    for at in places(&sound, DIRECT) {
        for byte in at + 1..at + 6 {
            let mut wrong = sound.clone();
            wrong[byte] ^= 0x10;
            replace(&fixture.image(), &wrong);
            let (sound, said) = verified(&fixture);
            assert!(!sound && said.contains("is not one that keeps the meaning"), "byte {byte}: {said}");
            assert!(said.contains("liba.so"), "{said}");
        }
    }
}

#[test]
fn original_code_is_kept_and_proved() {
    let fixture = fixture();
    built(&fixture, &[]);
    let mut image = fs::read(fixture.image()).expect("the image");
    // Behind the windows, in front of what is for tools only: the program headers (`e_phoff`) and so on.
    let end = u64::from_le_bytes(image[32..40].try_into().expect("a word")) as usize;
    let original = image[..end].windows(2).rposition(|window| window == THROUGH_SLOT).expect("original code");
    assert!(original > places(&image, DIRECT)[0]);
    image[original + 1] ^= 1;
    replace(&fixture.image(), &image);
    let (sound, said) = verified(&fixture);
    assert!(!sound && said.contains("the original code at"), "{said}");
}

#[test]
fn what_the_program_defines_is_called_through_its_slot() {
    let fixture = fixture();
    let said = built(&fixture, &[]);
    assert!(!said.contains("bound by the process"), "{said}");
    let source = fs::read_to_string(fixture.path("main.c")).expect("the program");
    let source = source.replace("const char *b(void);", "const char *b(void) { return \"mine\"; }");
    fixture.source("main.c", &source);
    fixture.link(fixture.loader(), &[RUN_PATH, "-rdynamic"]);
    let said = built(&fixture, &[]);
    assert!(said.contains("bound by the process"), "{said}");
    fixture.uses_it(&[], "mine a1 mine 7");
}

#[test]
fn a_program_that_needs_landing_pads_is_left_alone() {
    let fixture = fixture();
    fixture.link(fixture.loader(), &[RUN_PATH, "-fcf-protection", "-Wl,-z,ibt"]);
    let said = built(&fixture, &[]);
    assert!(said.contains("liba.so is left alone: its program needs IBT"), "{said}");
    let (sound, said) = verified(&fixture);
    assert!(sound && !said.contains("proved"), "{said}");
    fixture.uses_it(&[], USUAL);
}

#[test]
fn what_cannot_be_read_with_certainty_is_left_alone() {
    let fixture = fixture();
    // Without section headers: e_shoff, and e_shentsize to e_shstrndx.
    let path = fixture.path("lib/liba.so");
    let mut bytes = fs::read(&path).expect("the library");
    bytes[0x28..0x30].fill(0);
    bytes[0x3a..0x40].fill(0);
    fs::write(&path, bytes).expect("the library");
    let said = built(&fixture, &[]);
    assert!(said.contains("liba.so is left alone: no section headers"), "{said}");
    assert!(verified(&fixture).0);
    fixture.uses_it(&[], USUAL);
}
