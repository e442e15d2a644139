//! Debuggers and libraries whose parts have been moved apart (`concatenate`).

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use difftest::images::fixture::{Fixture, RUN_PATH};
use difftest::run::run;
use difftest::worlds::morselctl;

/// What gdb says when it stops in the second library, which the first one calls. `target` is the program or a process.
fn stopped_in_library(fixture: &Fixture, target: &[&str], go: &str) -> String {
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-nx",
        "-q",
        "-batch",
        "-ex",
        "set debuginfod enabled off",
        "-ex",
        "set breakpoint pending on",
    ]);
    gdb.args(target).args(["-ex", "break b", "-ex", go, "-ex", "backtrace", "-ex", "kill"]);
    // What cargo sets for tests is no circumstance of theirs.
    gdb.env_remove("LD_LIBRARY_PATH");
    gdb.env("LD_MORSEL_LOG", "info").env("LD_MORSEL_IMAGE", format!("{}/", fixture.path("images").display()));
    let outcome = run(&mut gdb, Duration::from_secs(60)).expect("gdb");
    for (number, function) in ["b", "a", "main"].into_iter().enumerate() {
        let is_frame = |line: &&str| line.starts_with(&format!("#{number} "));
        let frame = outcome.stdout.lines().find(is_frame);
        assert!(frame.is_some_and(|frame| frame.contains(&format!(" in {function} ()"))), "{outcome:?}");
    }
    outcome.stderr + &outcome.stdout
}

#[test]
fn one_that_starts_the_program_has_it_without_the_image() {
    let fixture = Fixture::new();
    fixture.source("main.c", "const char *a(void);\nint main(void) { return *a(); }\n");
    fixture.link(fixture.loader(), &[RUN_PATH]);
    fixture.build(&[]);
    let program = fixture.path("prog").display().to_string();
    let refused = "is not used: a debugger is there";
    let said = stopped_in_library(&fixture, &[&program], "run");
    assert!(said.contains(refused), "{said}");
    // It looks for its breakpoint in the libc that is in the loader's file.
    let fused = fixture.path("fused.so");
    let mut fuse = Command::new(morselctl().expect("morselctl"));
    fuse.arg("fuse").arg(fixture.libc()).arg("-o").arg(&fused).arg("--loader").arg(fixture.loader());
    assert!(fuse.stdout(Stdio::null()).status().expect("morselctl").success());
    fixture.link(&fused, &[RUN_PATH]);
    fixture.build(&[]);
    let said = stopped_in_library(&fixture, &[&program], "run");
    assert!(said.contains(refused), "{said}");
    // Where nothing has been moved, it finds everything in the image.
    fixture.build(&["--passes", "none"]);
    let said = stopped_in_library(&fixture, &[&program], "run");
    assert!(said.contains(" INFO  image /") && !said.contains("is not used"), "{said}");
}

#[test]
fn one_that_comes_later_finds_code() {
    let fixture = Fixture::new();
    const LOOP: &str = r#"
        #include <unistd.h>
        const char *a(void);
        int main(void) { for (write(2, "up", 2);; usleep(10000)) a(); }
    "#;
    fixture.source("main.c", LOOP);
    fixture.link(fixture.loader(), &[RUN_PATH]);
    fixture.build(&[]);
    let mut program = Command::new(fixture.path("prog"));
    program.env_clear().env("LD_MORSEL_IMAGE", format!("require:{}/", fixture.path("images").display()));
    program.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = program.spawn().expect("the program");
    let mut up = [0; 2];
    process.stderr.take().expect("a pipe").read_exact(&mut up).expect("it runs");
    let said = stopped_in_library(&fixture, &["-p", &process.id().to_string()], "continue");
    assert!(said.contains("Breakpoint 1, "), "{said}");
    // gdb has ended it.
    process.wait().expect("the program");
}
