//! When an image may be used: each rule is broken once, and the program must do what it does without an image. Images are
//! damaged, moved, built twice at once and by builders that are killed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use difftest::run::{Ending, Outcome, run};
use difftest::scratch::Scratch;
use difftest::worlds::{BuildCopy, Loaders, Version, morselctl};

const PROGRAM: &str = r#"
#include <stdio.h>
const char *a(void); const char *b(void); extern __thread int counter; void *where(void);
int main(int argc, char **argv) {
    printf("%s %s %d\n", a(), b(), ++counter);
    if (argc > 1) printf("%p\n", where());
}
"#;
const A: &str = r#"
#include <stdio.h>
const char *b(void); __thread int counter = 6; const char *(*volatile through_data)(void) = b; FILE *const volatile *out = &stdout;
const char *a(void) { fputs(through_data(), *out); fputs(" ", *out); return "VERSION"; }
void *where(void) { return (void *)a; }
"#;
const B: &str = r#"const char *b(void) { return "VERSION"; }"#;

/// A program with two libraries, found in `lib` if they are not in `early`, and the directory of its image.
struct Fixture {
    scratch: Scratch,
}

/// How the image's header begins in the file, and where in it are the version, the build ID and the base.
const HEADER_AT: u64 = 64;
const VERSION_AT: u64 = HEADER_AT + 8;
const BUILD_ID_AT: u64 = HEADER_AT + 12;

impl Fixture {
    /// Builds the program and its image.
    fn new() -> Self {
        let fixture = Self { scratch: Scratch::new().expect("a scratch folder") };
        for directory in ["lib", "early", "images", "other"] {
            fs::create_dir(fixture.path(directory)).expect(directory);
        }
        fixture.library("lib/liba.so", A, "a1");
        fixture.library("lib/libb.so", B, "b1");
        let loaders = Loaders::find().expect("loaders");
        let loader = loaders.for_copy(BuildCopy::Morsel).expect("the loader under test");
        let interpreter = format!("-Wl,--dynamic-linker={}", loader.display());
        let main = fixture.source("main.c", PROGRAM);
        let options = ["-Llib", "-la", "-lb", "-Wl,-rpath,$ORIGIN/early:$ORIGIN/lib", &interpreter];
        fixture.compile("prog", &main, &options);
        fixture.build(&[]);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn source(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect(name);
        path
    }

    fn compile(&self, output: &str, source: &Path, options: &[&str]) {
        let mut command = Command::new("musl-gcc");
        command.current_dir(self.scratch.path()).args(["-O1", "-o", output]).arg(source).args(options);
        assert!(command.status().expect("musl-gcc").success(), "{command:?}");
    }

    fn library(&self, output: &str, text: &str, version: &str) {
        let source = self.source("library.c", &text.replace("VERSION", version));
        self.compile(output, &source, &["-shared", "-fPIC"]);
    }

    fn builder(&self, options: &[&str]) -> Command {
        let mut command = Command::new(morselctl().expect("morselctl"));
        command.arg("build").arg(self.path("prog")).args(options).stdout(Stdio::null());
        if !options.contains(&"-o") {
            command.arg("--into").arg(self.path("images"));
        }
        command
    }

    fn build(&self, options: &[&str]) {
        assert!(self.builder(options).status().expect("morselctl").success());
    }

    /// The image's file.
    fn image(&self) -> PathBuf {
        let mut images = fs::read_dir(self.path("images")).expect("images");
        images.next().expect("an image").expect("an entry").path()
    }

    fn run_as(&self, program: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("LD_MORSEL_LOG", "info");
        command.env("LD_MORSEL_IMAGE", format!("{}/", self.path("images").display()));
        command.envs(settings.iter().copied());
        run(&mut command, Duration::from_secs(10)).expect("the program")
    }

    /// The program runs with the image and prints `expected`.
    #[track_caller]
    fn uses_it(&self, settings: &[(&str, &str)], expected: &str) {
        let outcome = self.run_as(&self.path("prog"), &[], settings);
        assert!(outcome.stderr.contains(" INFO  image /"), "{outcome:?}");
        assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), expected));
    }

    /// The program runs without the image, for this reason, and prints `expected`.
    #[track_caller]
    fn refuses_it(&self, settings: &[(&str, &str)], reason: &str, expected: &str) {
        let outcome = self.run_as(&self.path("prog"), &[], settings);
        assert!(outcome.stderr.contains(&format!("is not used: {reason}")), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), expected));
    }
}

const USUAL: &str = "b1 a1 b1 7";

#[test]
fn an_unchanged_program_uses_its_image() {
    Fixture::new().uses_it(&[], USUAL);
}

#[test]
fn it_is_not_used_if_the_user_says_so() {
    let fixture = Fixture::new();
    let outcome = fixture.run_as(&fixture.path("prog"), &[], &[("LD_MORSEL_IMAGE", "off")]);
    assert!(!outcome.stderr.contains("image"), "{outcome:?}");
    assert_eq!(outcome.stdout.trim(), USUAL);
}

#[test]
fn a_required_image_that_is_missing_is_an_error() {
    let fixture = Fixture::new();
    let outcome =
        fixture.run_as(&fixture.path("prog"), &[], &[("LD_MORSEL_IMAGE", "require:/nowhere/image")]);
    assert_eq!(outcome.ending, Ending::Exit(127));
    assert_eq!(outcome.stderr, "ld-morsel: image /nowhere/image: open: No such file or directory\n");
}

#[test]
fn a_required_image_is_missed_by_a_loader_that_is_run_as_a_command() {
    let fixture = Fixture::new();
    let loaders = Loaders::find().expect("loaders");
    let loader = loaders.for_copy(BuildCopy::Morsel).expect("the loader under test");
    let program = fixture.path("prog").display().to_string();
    let outcome = fixture.run_as(loader, &[&program], &[("LD_MORSEL_IMAGE", "require")]);
    assert_eq!(outcome.ending, Ending::Exit(127));
    assert!(outcome.stderr.contains("the loader is run as a command"), "{outcome:?}");
    let outcome = fixture.run_as(loader, &[&program], &[]);
    assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL));
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
fn the_environment_is_another() {
    let fixture = Fixture::new();
    fixture.library("other/libb.so", B, "b6");
    let other = fixture.path("other").display().to_string();
    fixture.refuses_it(
        &[("LD_LIBRARY_PATH", &other)],
        "made for other circumstances: LD_LIBRARY_PATH",
        "b6 a1 b6 7",
    );
    let preload = fixture.path("other/libb.so").display().to_string();
    fixture.refuses_it(&[("LD_PRELOAD", &preload)], "made for other circumstances: LD_PRELOAD", "b6 a1 b6 7");
    let loaders = Loaders::find().expect("loaders");
    let libc = loaders.libc(Version::V1_2_3).expect("libc").display().to_string();
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
    let change = |at: u64| {
        let file = OpenOptions::new().read(true).write(true).open(fixture.image()).expect("open");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ 1], at).expect("write");
    };
    change(BUILD_ID_AT);
    fixture.refuses_it(&[], "made for another build of ld-morsel", USUAL);
    change(BUILD_ID_AT);
    change(VERSION_AT);
    fixture.refuses_it(&[], "format version 0, not 1", USUAL);
}

#[test]
fn it_is_cut_off() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.image()).expect("read");
    let tables = u64::from_le_bytes(whole[112..120].try_into().expect("a word")) as usize;
    for length in [0, 1, 63, 64, 100, 136, 4095, 4096, 100_000, tables, tables + 9, tables + 2000] {
        fs::remove_file(fixture.image()).expect("remove");
        let name = fixture.path("images/new");
        fs::write(&name, &whole[..length]).expect("write");
        fs::rename(&name, image_name(&fixture)).expect("rename");
        fixture.refuses_it(&[], "damaged: ", USUAL);
    }
}

/// Where the loader looks for the image.
fn image_name(fixture: &Fixture) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let program = fs::metadata(fixture.path("prog")).expect("the program");
    fixture.path("images").join(format!("{:x}-{:x}", program.dev(), program.ino()))
}

#[test]
fn any_bit_of_its_tables_is_wrong() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.image()).expect("read");
    let word = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().expect("a word")) as usize;
    let (tables, size) = (word(112), word(120));
    fs::set_permissions(fixture.image(), Permissions::from_mode(0o644)).expect("chmod");
    let file = File::options().write(true).open(fixture.image()).expect("open");
    // A prime step meets all kinds of fields and all bits.
    let offsets = (64..136).chain((tables..tables + size).step_by(7));
    for (count, at) in offsets.enumerate() {
        file.write_all_at(&[whole[at] ^ 1 << (count % 8)], at as u64).expect("write");
        let outcome = fixture.run_as(&fixture.path("prog"), &[], &[]);
        assert!(outcome.stderr.contains("is not used: "), "byte {at}: {outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL), "byte {at}");
        file.write_all_at(&whole[at..=at], at as u64).expect("write");
    }
    fixture.uses_it(&[], USUAL);
}

#[test]
fn the_system_path_file_has_changed() {
    let fixture = Fixture::new();
    // The path file is sought near the loader.
    for directory in ["near", "near/lib", "near/etc"] {
        fs::create_dir(fixture.path(directory)).expect(directory);
    }
    let loaders = Loaders::find().expect("loaders");
    let loader = fixture.path("near/lib/ld");
    fs::copy(loaders.for_copy(BuildCopy::Morsel).expect("the loader under test"), &loader).expect("copy");
    let path_file = fixture.path("near/etc/ld-musl-x86_64.path");
    fs::write(&path_file, fixture.path("lib").display().to_string()).expect("write");
    let interpreter = format!("-Wl,--dynamic-linker={}", loader.display());
    fixture.compile("prog", &fixture.path("main.c"), &["-Llib", "-la", "-lb", &interpreter]);
    fixture.build(&[]);
    fixture.uses_it(&[], USUAL);
    fixture.library("other/libb.so", B, "b8");
    let both = format!("{}:{}", fixture.path("other").display(), fixture.path("lib").display());
    fs::write(&path_file, both).expect("write");
    fixture.refuses_it(&[], &format!("{} has changed", path_file.display()), "b8 a1 b8 7");
}

#[test]
fn the_loader_is_fused_with_libc() {
    let fixture = Fixture::new();
    let loaders = Loaders::find().expect("loaders");
    let fused = fixture.path("fused.so");
    let fuse = || {
        let mut command = Command::new(morselctl().expect("morselctl"));
        command.arg("fuse").arg(loaders.libc(Version::V1_2_3).expect("libc")).arg("-o").arg(&fused);
        command.arg("--loader").arg(loaders.for_copy(BuildCopy::Morsel).expect("the loader under test"));
        assert!(command.stdout(Stdio::null()).status().expect("morselctl").success());
    };
    fuse();
    let interpreter = format!("-Wl,--dynamic-linker={}", fused.display());
    let options = ["-Llib", "-la", "-lb", "-Wl,-rpath,$ORIGIN/early:$ORIGIN/lib", &interpreter];
    fixture.compile("prog", &fixture.path("main.c"), &options);
    fixture.build(&[]);
    fixture.uses_it(&[], USUAL);
    fixture.uses_it(&[("LD_MORSEL_ASLR", "process")], USUAL);
    // The same loader, but the libc may be another one.
    fuse();
    fixture.refuses_it(&[], &format!("{} has changed", fused.display()), USUAL);
}

#[test]
fn in_secure_mode_only_images_of_root_count() {
    let fixture = Fixture::new();
    // $ORIGIN does not count for a privileged program.
    let loaders = Loaders::find().expect("loaders");
    let loader = loaders.for_copy(BuildCopy::Morsel).expect("the loader under test");
    let interpreter = format!("-Wl,--dynamic-linker={}", loader.display());
    let run_path = format!("-Wl,-rpath,{}", fixture.path("lib").display());
    fixture.compile("prog", &fixture.path("main.c"), &["-Llib", "-la", "-lb", &interpreter, &run_path]);
    // Nor does the environment: only the usual place and the addresses tell. The system's own stays out of it.
    let script = r#"
        set -e
        mount -t tmpfs -o mode=755 none /var/cache
        chmod u+s prog
        "$MORSELCTL" build prog >/dev/null
        run() { setpriv --reuid 65534 --clear-groups ./prog where | tail -n 1; }
        [ "$(run)" = "$(run)" ] && echo used
        chown 65534 /var/cache/ld-morsel/*
        [ "$(run)" != "$(run)" ] && [ -n "$(run)" ] && echo refused
    "#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).current_dir(fixture.scratch.path());
    command.env("MORSELCTL", morselctl().expect("morselctl"));
    let outcome = run(&mut command, Duration::from_secs(10)).expect("unshare");
    assert_eq!(outcome.stdout, "used\nrefused\n", "{outcome:?}");
}

#[test]
fn it_is_placed_at_random_if_the_user_wants_it() {
    let fixture = Fixture::new();
    let place = |settings: &[(&str, &str)]| {
        let outcome = fixture.run_as(&fixture.path("prog"), &["where"], settings);
        assert!(outcome.stderr.contains(" INFO  image /"), "{outcome:?}");
        outcome.stdout.lines().nth(1).expect("an address").to_owned()
    };
    assert_eq!(place(&[]), place(&[]), "an image has its own place");
    let random = [("LD_MORSEL_ASLR", "process")];
    assert_ne!(place(&random), place(&random), "each process has its own");
    fixture.uses_it(&random, USUAL);
}

#[test]
fn two_builds_of_a_program_have_different_places() {
    let fixture = Fixture::new();
    let first = fs::read(fixture.image()).expect("read");
    fixture.build(&[]);
    let second = fs::read(fixture.image()).expect("read");
    assert_ne!(first[96..104], second[96..104]);
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
