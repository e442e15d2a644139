//! Portable images: built in one place and used in another, where all files are other ones with the same contents.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use difftest::images::container::Container;
use difftest::images::fixture::{B, Fixture, USUAL};
use difftest::run::{Ending, Outcome, run};
use difftest::worlds::morselctl;

/// What a start says that reads all files.
const READING: &str = "reading the inputs";

/// A program with a portable image, and a container that has copies of both.
struct Portable {
    fixture: Fixture,
    container: Container,
}

impl Portable {
    fn new() -> Self {
        Self::unpacked("-a")
    }

    /// `option` says how `cp` copies.
    fn unpacked(option: &str) -> Self {
        let fixture = Fixture::new();
        fs::remove_file(fixture.image()).expect("the ordinary image");
        fixture.build(&["--portable"]);
        let container = Container::new(&fixture.path(""), option);
        Self { fixture, container }
    }

    /// The image; the container has one of the same path.
    fn image(&self) -> PathBuf {
        let program = self.fixture.path("prog").canonicalize().expect("the program");
        self.fixture.path("images").join(program.display().to_string().replace('/', "%2F"))
    }

    fn stamp(&self) -> String {
        format!("{}.stamp", self.image().display())
    }

    fn start_with(&self, choice: &str) -> Command {
        let mut command = self.container.command(&self.fixture.path("prog"));
        command.env_remove("LD_LIBRARY_PATH").env("LD_MORSEL_LOG", "info");
        command.env("LD_MORSEL_IMAGE", format!("{choice}{}/", self.fixture.path("images").display()));
        command
    }

    fn start(&self) -> Outcome {
        run(&mut self.start_with("portable:"), Duration::from_secs(20)).expect("nsenter")
    }

    /// A start uses the image, and reads all files or none.
    #[track_caller]
    fn uses_it(&self, reading: bool) {
        let outcome = self.start();
        assert!(outcome.stderr.contains(" INFO  image /"), "{outcome:?}");
        assert_eq!(outcome.stderr.contains(READING), reading, "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL));
    }

    /// A start does not use it, for this reason, and prints `expected`.
    #[track_caller]
    fn refuses_it(&self, reading: bool, reason: &str, expected: &str) {
        let outcome = self.start();
        assert!(outcome.stderr.contains("is not used: "), "{outcome:?}");
        assert!(outcome.stderr.contains(reason), "{outcome:?}");
        assert_eq!(outcome.stderr.contains(READING), reading, "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), expected));
    }

    /// Changes the text of the second library in the container; its size stays.
    fn change_library(&self) -> String {
        let library = self.fixture.path("lib/libb.so").display().to_string();
        self.container.shell(&format!("sed -i 's/b1/b2/' {library}; sleep 0.1"));
        format!("{library} has changed")
    }

    fn morselctl(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.container.command(&morselctl().expect("morselctl"));
        run(command.args(arguments), Duration::from_secs(20)).expect("nsenter")
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) {
        let outcome = self.morselctl(arguments);
        assert_eq!(outcome.ending, Ending::Exit(0), "{outcome:?}");
    }

    fn images(&self) -> String {
        self.fixture.path("images").display().to_string()
    }
}

#[test]
fn the_first_start_reads_all_files_and_the_next_none() {
    for option in ["-a", "-r"] {
        let portable = Portable::unpacked(option);
        portable.uses_it(true);
        portable.uses_it(false);
        let left = portable.container.shell(&format!("ls -A {}", portable.images())).stdout;
        assert_eq!(left.lines().count(), 2, "{left}");
        let mode = portable.container.shell(&format!("stat -c %a {}", portable.stamp())).stdout;
        assert_eq!(mode.trim(), "644");
    }
}

#[test]
fn an_image_is_used_where_it_was_built() {
    let portable = Portable::new();
    let choice = format!("portable:{}", portable.images());
    portable.fixture.uses_it(&[("LD_MORSEL_IMAGE", &choice)], USUAL);
    portable.fixture.uses_it(&[("LD_MORSEL_IMAGE", &choice)], USUAL);
}

#[test]
fn a_stamp_that_came_with_the_files_says_nothing() {
    let portable = Portable::new();
    portable.uses_it(true);
    let library = portable.fixture.path("lib/libb.so").display().to_string();
    portable.container.shell(&format!("cp {library} {library}.new; mv {library}.new {library}; sleep 0.1"));
    portable.uses_it(true);
    portable.uses_it(false);
}

#[test]
fn a_library_was_changed_before_the_first_start() {
    let portable = Portable::new();
    let reason = portable.change_library();
    portable.refuses_it(true, &reason, "b2 a1 b2 7");
    // It is known by now.
    portable.refuses_it(false, &reason, "b2 a1 b2 7");
}

#[test]
fn a_library_was_changed_after_the_first_start() {
    let portable = Portable::new();
    portable.uses_it(true);
    let reason = portable.change_library();
    portable.refuses_it(true, &reason, "b2 a1 b2 7");
    portable.refuses_it(false, &reason, "b2 a1 b2 7");
    let library = portable.fixture.path("lib/libb.so").display().to_string();
    portable.container.shell(&format!("sed -i 's/b2/b1/' {library}; sleep 0.1"));
    portable.uses_it(true);
}

#[test]
fn a_library_has_another_size_or_is_gone() {
    let portable = Portable::new();
    let library = portable.fixture.path("lib/libb.so").display().to_string();
    portable.container.shell(&format!("echo >> {library}; sleep 0.1"));
    portable.refuses_it(true, &format!("{library} has changed"), USUAL);
    portable.container.shell(&format!("rm {library}"));
    let outcome = portable.start();
    assert_eq!(outcome.ending, Ending::Exit(127));
    assert!(outcome.stderr.contains(&format!("{library} has changed")), "{outcome:?}");
}

#[test]
fn the_program_was_changed() {
    let portable = Portable::new();
    let program = portable.fixture.path("prog").display().to_string();
    portable.container.shell(&format!("sed -i 's/%s %s %d/%s %s %x/' {program}; sleep 0.1"));
    portable.refuses_it(true, "the program's file", USUAL);
    portable.refuses_it(false, "the program's file", USUAL);
}

#[test]
fn a_missing_file_must_be_missing() {
    for stamped in [false, true] {
        let portable = Portable::new();
        if stamped {
            portable.uses_it(true);
        }
        let (library, early) = (portable.fixture.path("lib/libb.so"), portable.fixture.path("early/libb.so"));
        portable.container.shell(&format!("cp {} {}; sleep 0.1", library.display(), early.display()));
        portable.refuses_it(false, &format!("{} was not there", early.display()), USUAL);
    }
}

#[test]
fn two_libraries_have_become_one() {
    let fixture = Fixture::new();
    fixture.library("lib/libc2.so", B, "b1");
    fs::copy(fixture.path("lib/libc2.so"), fixture.path("lib/libd.so")).expect("copy");
    fs::remove_file(fixture.image()).expect("the image of the program as it was");
    fixture.link(fixture.loader(), &["-Wl,-rpath,$ORIGIN/lib", "-Wl,--no-as-needed", "-lc2", "-ld"]);
    fixture.build(&["--portable"]);
    let container = Container::new(&fixture.path(""), "-a");
    let portable = Portable { fixture, container };
    let [one, other] = ["lib/libc2.so", "lib/libd.so"].map(|name| portable.fixture.path(name));
    portable.container.shell(&format!("ln -f {} {}; sleep 0.1", one.display(), other.display()));
    portable.refuses_it(true, &format!("{} has changed", other.display()), USUAL);
}

#[test]
fn a_damaged_stamp_does_not_count() {
    let portable = Portable::new();
    portable.uses_it(true);
    let stamp = portable.stamp();
    for damage in [
        format!("printf x | dd of={stamp} bs=1 seek=30 conv=notrunc"),
        format!("truncate -s -8 {stamp}"),
        format!(": > {stamp}"),
        format!("truncate -s 2M {stamp}"),
        format!("rm {stamp}; mkfifo -m 644 {stamp}"),
        format!("chmod 666 {stamp}"),
        format!("chown 1234 {stamp}"),
    ] {
        portable.container.shell(&damage);
        portable.uses_it(true);
        portable.uses_it(false);
    }
}

#[test]
fn a_stamp_of_another_image_does_not_count() {
    let portable = Portable::new();
    let other = portable.fixture.path("other").display().to_string();
    let program = portable.fixture.path("prog").display().to_string();
    portable.done(&["build", "--portable", "--library-path", "/nowhere", "--into", &other, &program]);
    portable.done(&["stamp", "--all", &other]);
    portable.container.shell(&format!("cp {other}/%*.stamp {}", portable.images()));
    portable.uses_it(true);
    portable.uses_it(false);
}

#[test]
fn without_a_place_for_the_stamp_nothing_is_read() {
    let portable = Portable::new();
    let images = portable.images();
    portable.container.shell(&format!("mount --bind {images} {images}; mount -o remount,bind,ro {images}"));
    let reason = format!("{} cannot be written: Read-only file system", portable.stamp());
    portable.refuses_it(false, &reason, USUAL);
    let outcome = portable.morselctl(&["stamp", &portable.image().display().to_string()]);
    assert_eq!(outcome.ending, Ending::Exit(1));
    assert!(outcome.stderr.contains("cannot write") && outcome.stderr.contains(".stamp"), "{outcome:?}");
}

#[test]
fn another_user_uses_the_stamp_of_root_and_makes_none() {
    let portable = Portable::new();
    let as_nobody = || {
        let mut command = portable.container.command("setpriv".as_ref());
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(portable.fixture.path("prog"));
        command.env_remove("LD_LIBRARY_PATH").env("LD_MORSEL_LOG", "info");
        command.env("LD_MORSEL_IMAGE", format!("portable:{}", portable.images()));
        run(&mut command, Duration::from_secs(20)).expect("setpriv")
    };
    let outcome = as_nobody();
    assert!(outcome.stderr.contains("cannot be written: Permission denied"), "{outcome:?}");
    portable.uses_it(true);
    let outcome = as_nobody();
    assert!(outcome.stderr.contains(" INFO  image /") && !outcome.stderr.contains(READING), "{outcome:?}");
    assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), USUAL));
}

#[test]
fn many_first_starts_at_once() {
    let portable = Portable::new();
    let starts: Vec<_> = (0..8)
        .map(|_| portable.start_with("portable:").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
        .collect();
    for start in starts {
        let output = start.and_then(|child| child.wait_with_output()).expect("a start");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), USUAL);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("is not used"), "{output:?}");
    }
    portable.uses_it(false);
    let left = portable.container.shell(&format!("ls -A {}", portable.images())).stdout;
    assert_eq!(left.lines().count(), 2, "{left}");
}

#[test]
fn morselctl_stamps_for_starts_that_know_nothing_of_it() {
    let portable = Portable::new();
    let ordinary = || run(&mut portable.start_with(""), Duration::from_secs(20)).expect("nsenter");
    assert!(!ordinary().stderr.contains(" INFO  image /"));
    portable.done(&["stamp", "--all", &portable.images()]);
    let outcome = ordinary();
    assert!(outcome.stderr.contains(" INFO  image /") && !outcome.stderr.contains(READING), "{outcome:?}");
    portable.uses_it(false);
    let reason = portable.change_library();
    let outcome = portable.morselctl(&["stamp", &portable.image().display().to_string()]);
    assert_eq!(outcome.ending, Ending::Exit(1));
    assert!(outcome.stderr.contains(&reason), "{outcome:?}");
    let outcome = portable.morselctl(&["verify", &portable.image().display().to_string()]);
    assert!(outcome.stderr.contains(&reason), "{outcome:?}");
    portable.refuses_it(false, &reason, "b2 a1 b2 7");
    let listed = portable.morselctl(&["list", &portable.images()]);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
    portable.done(&["refresh", &portable.images()]);
    portable.done(&[
        "drop",
        "--from",
        &portable.images(),
        &portable.fixture.path("prog").display().to_string(),
    ]);
    let left = portable.container.shell(&format!("ls {}", portable.images())).stdout;
    assert_eq!(left, "");
}

#[test]
fn in_secure_mode_nothing_is_stamped_and_only_stamps_of_root_count() {
    let fixture = Fixture::new();
    // $ORIGIN does not count for a privileged program.
    fixture.link(fixture.loader(), &[&format!("-Wl,-rpath,{}", fixture.path("lib").display())]);
    // Nor does the environment: only the usual place and the addresses tell. The system's own stays out of it.
    let script = r#"
        set -e
        mount -t tmpfs -o mode=755 none /var/cache
        chmod u+s prog
        "$MORSELCTL" build --portable prog >/dev/null
        cd /var/cache/ld-morsel
        prog=$OLDPWD/prog
        ln -s %* "$(stat -c '%d %i' "$prog" | xargs printf '%x-%x')"
        run() { setpriv --reuid 65534 --clear-groups "$prog" where | tail -n 1; }
        [ "$(run)" != "$(run)" ] && [ -n "$(run)" ] && echo unstamped
        [ "$(ls -A | wc -l)" = 2 ] && echo none
        "$MORSELCTL" stamp --all >/dev/null
        [ "$(run)" = "$(run)" ] && echo used
        chown 65534 ./*.stamp
        [ "$(run)" != "$(run)" ] && echo refused
    "#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).current_dir(fixture.path(""));
    command.env("MORSELCTL", morselctl().expect("morselctl"));
    let outcome = run(&mut command, Duration::from_secs(20)).expect("unshare");
    assert_eq!(outcome.stdout, "unstamped\nnone\nused\nrefused\n", "{outcome:?}");
}

#[test]
fn what_cannot_be_portable_is_refused() {
    let fixture = Fixture::new();
    fs::copy(fixture.path("prog"), fixture.path("lib/../other-prog")).expect("copy");
    let other = fixture.path("other-prog").display().to_string();
    let output = fixture.builder(&["--portable", &other]).stderr(Stdio::piped()).output().expect("morselctl");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot be told apart"), "{said}");
    fixture.build(&["--portable", "--each", &other]);
    let image = fixture.path("images/x").display().to_string();
    let output = fixture.builder(&["--portable", &other, "-o", &image]).stderr(Stdio::piped()).output();
    let said = String::from_utf8_lossy(&output.expect("morselctl").stderr).into_owned();
    assert!(said.contains("a name for each program"), "{said}");
}

#[test]
fn the_steps_of_the_dockerfile_work() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/docker/Dockerfile");
    let dockerfile = fs::read_to_string(path).expect(path);
    let step = |name: &str| {
        let line = dockerfile.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {path}")).to_owned()
    };
    let fixture = Fixture::new();
    let (prog, cache) = (fixture.path("prog").display().to_string(), fixture.path("cache"));
    fs::create_dir(&cache).expect("cache");
    let build = step("RUN ").replace(['[', ']', ',', '"'], "").replace("/usr/bin/prog", &prog);
    let build =
        build.replace("/usr/lib/ld-morsel/morselctl", &morselctl().expect("morselctl").display().to_string());
    // The images of this machine stay out of it.
    let bind = format!("mount --bind {} /var/cache", cache.display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("{bind}; {build}")]);
    let outcome = run(&mut command, Duration::from_secs(20)).expect("unshare");
    assert_eq!(outcome.ending, Ending::Exit(0), "{outcome:?}");

    let container = Container::new(&fixture.path(""), "-r");
    container.shell(&bind);
    let setting = step("ENV LD_MORSEL_IMAGE=");
    for reading in [true, false] {
        let mut command = container.command(&fixture.path("prog"));
        command.env_remove("LD_LIBRARY_PATH").env("LD_MORSEL_LOG", "info").env("LD_MORSEL_IMAGE", &setting);
        let outcome = run(&mut command, Duration::from_secs(20)).expect("nsenter");
        assert!(outcome.stderr.contains(" INFO  image /var/cache/ld-morsel/%2F"), "{outcome:?}");
        assert_eq!(
            (outcome.stdout.trim(), outcome.stderr.contains(READING)),
            (USUAL, reading),
            "{outcome:?}"
        );
    }
}
