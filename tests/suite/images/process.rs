//! What a process does with its image: as the user wants it, at random places, with a fused loader, in secure mode.

use std::process::{Command, Stdio};
use std::time::Duration;

use difftest::images::fixture::{Fixture, RUN_PATH, USUAL};
use difftest::run::{Ending, run};
use difftest::worlds::morselctl;

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
    let loader = fixture.loader();
    let program = fixture.path("prog").display().to_string();
    let outcome = fixture.run_as(loader, &[&program], &[("LD_MORSEL_IMAGE", "require")]);
    assert_eq!(outcome.ending, Ending::Exit(127));
    assert!(outcome.stderr.contains("the loader is run as a command"), "{outcome:?}");
    let outcome = fixture.run_as(loader, &[&program], &[]);
    assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL));
}

#[test]
fn the_loader_is_fused_with_libc() {
    let fixture = Fixture::new();
    let fused = fixture.path("fused.so");
    let fuse = || {
        let mut command = Command::new(morselctl().expect("morselctl"));
        command.arg("fuse").arg(fixture.libc()).arg("-o").arg(&fused).arg("--loader").arg(fixture.loader());
        assert!(command.stdout(Stdio::null()).status().expect("morselctl").success());
    };
    fuse();
    fixture.link(&fused, &[RUN_PATH]);
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
    let run_path = format!("-Wl,-rpath,{}", fixture.path("lib").display());
    fixture.link(fixture.loader(), &[&run_path]);
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
    command.args(["--mount", "sh", "-c", script]).current_dir(fixture.path(""));
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
