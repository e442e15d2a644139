//! A program without an image asks for one, and the next start has it. Hostile datagrams do no harm.

mod common;

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{compile, folder, images, library, morselctl, program, run, text};
use ld_morsel::image::request::Request;
use ld_morsel::sys::FileIdentity;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// A learner, ended when dropped, and the program `number` that prints one.
struct Learner {
    dir: PathBuf,
    child: Child,
}

impl Learner {
    fn new(name: &str, options: &[&str]) -> Self {
        let dir = folder(name);
        program(&dir, "number", 7);
        let mut command = Command::new(env!("CARGO_BIN_EXE_morselctl"));
        command.arg("learn").arg("--socket").arg(dir.join("socket")).arg("--into").arg(dir.join("images"));
        command.args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let learner = Self { dir, child };
        // The permissions come last.
        let ready = |mode: u32| matches!(mode & 0o777, 0o600 | 0o666);
        wait_for(|| {
            fs::metadata(learner.socket()).is_ok_and(|metadata| ready(metadata.permissions().mode()))
        });
        learner
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// Starts the program, which must print `expected`; whether it has used an image.
    #[track_caller]
    fn start(&self, program: &str, expected: &str) -> bool {
        start(&self.dir, program, &self.socket(), expected)
    }

    fn send(&self, datagram: &[u8]) {
        UnixDatagram::unbound().unwrap().send_to(datagram, self.socket()).unwrap();
    }

    /// What it has said, once it has ended by itself.
    fn said(mut self) -> String {
        wait_for(|| self.child.try_wait().unwrap().is_some());
        let (mut said, mut complained) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut complained).unwrap();
        said + &complained
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn start(dir: &Path, program: &str, socket: &Path, expected: &str) -> bool {
    let stats = dir.join("stats.json");
    let mut command = Command::new(dir.join(program));
    command.current_dir(dir).env("LD_MORSEL_STATS", &stats).env("LD_MORSEL_LEARN", socket);
    command.env("LD_MORSEL_IMAGE", format!("{}/", dir.join("images").display()));
    assert_eq!(run(&mut command).trim(), expected);
    let stats: Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    !stats["image"].is_null()
}

#[track_caller]
fn wait_for(mut reached: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !reached() {
        assert!(begin.elapsed() < LIMIT, "waited in vain");
        sleep(Duration::from_millis(10));
    }
}

/// Whether there is one image, and it may be used.
fn has_valid_image(directory: &Path) -> bool {
    match images(directory).as_slice() {
        [image] => morselctl(&[&"verify", image]).status.success(),
        _ => false,
    }
}

#[test]
fn a_start_that_missed_is_followed_by_one_that_does_not() {
    let learner = Learner::new("learn", &["--interval", "0"]);
    assert!(!learner.start("number", "7"));
    wait_for(|| has_valid_image(&learner.images()));
    assert!(learner.start("number", "7"));
    // A library that was touched, and one that was replaced.
    let file = learner.dir.join("lib/libnumber.so");
    File::open(&file).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert!(!learner.start("number", "7"));
    wait_for(|| has_valid_image(&learner.images()));
    assert!(learner.start("number", "7"));
    library(&learner.dir, "number", 8);
    assert!(!learner.start("number", "8"));
    wait_for(|| has_valid_image(&learner.images()));
    assert!(learner.start("number", "8"));
}

#[test]
fn nobody_needs_to_listen() {
    let dir = folder("learn-nobody");
    program(&dir, "number", 7);
    let long = PathBuf::from(format!("/{}", "x".repeat(200)));
    for socket in [&dir.join("absent"), &dir.join("lib/libnumber.so"), &dir, &long, Path::new("relative")] {
        assert!(!start(&dir, "number", socket, "7"));
    }
    // One who listens and never reads: the queue fills up.
    let _deaf = UnixDatagram::bind(dir.join("deaf")).unwrap();
    for _ in 0..50 {
        assert!(!start(&dir, "number", &dir.join("deaf"), "7"));
    }
}

#[test]
fn a_privileged_program_asks_nobody() {
    let learner = Learner::new("learn-secure", &["--idle", "1"]);
    let program = learner.dir.join("number");
    // Another group than its starter's is privilege enough.
    chown(&program, None, Some(65534)).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o2755)).unwrap();
    let mut command = Command::new(&program);
    assert_eq!(run(command.env("LD_MORSEL_LEARN", learner.socket())), "7\n");
    let said = learner.said();
    assert!(said.starts_with("listening at ") && said.lines().count() == 1, "{said}");
}

#[test]
fn hostile_datagrams_are_refused() {
    let learner = Learner::new("learn-hostile", &["--idle", "2"]);
    let request = |program: &std::ffi::CStr, inode| {
        let identity = FileIdentity { device: 1, inode };
        Request { program, identity, library_path: None, preload: None, libc: None }.to_bytes().unwrap()
    };
    let sound = request(c"/bin/sh", 1);
    learner.send(b"");
    learner.send(b"MORSELRQ");
    learner.send(&vec![0xff; 60_000]);
    learner.send(&sound[..sound.len() / 2]);
    learner.send(&sound);
    learner.send(&request(c"/dev/zero", 1));
    learner.send(&request(c"../../bin/sh", 1));
    learner.send(&request(c"/nowhere", 1));
    // And it still listens.
    assert!(!learner.start("number", "7"));
    wait_for(|| has_valid_image(&learner.images()));
    let (images_in, said) = (learner.images(), learner.said());
    assert_eq!(said.matches("is no request").count(), 4, "{said}");
    assert_eq!(said.matches("ignored: not an absolute path of a file").count(), 1, "{said}");
    assert!(said.contains("/bin/sh: ignored: another file"), "{said}");
    assert!(said.contains("/nowhere: No such file"), "{said}");
    assert_eq!(images(&images_in).len(), 1);
}

#[test]
fn what_cannot_be_built_is_not_tried_again() {
    let learner = Learner::new("learn-failure", &["--idle", "2", "--interval", "0"]);
    // It runs, but only where it is.
    let source = "int number(void); int main(void) { return number() != 7; }";
    std::os::unix::fs::symlink("lib/libnumber.so", learner.dir.join("here.so")).unwrap();
    compile(
        &learner.dir.join("here"),
        source,
        &[&learner.dir.join("lib/libnumber.so").display().to_string()],
    );
    let mut patch = Command::new("patchelf");
    let needed = learner.dir.join("lib/libnumber.so").display().to_string();
    run(patch.args(["--replace-needed", &needed, "./here.so"]).arg(learner.dir.join("here")));
    for _ in 0..3 {
        assert!(!learner.start("here", ""));
    }
    let said = learner.said();
    assert_eq!(said.matches("Error loading shared library ./here.so").count(), 1, "{said}");
    assert_eq!(said.matches("it could not be built, and has not changed").count(), 2, "{said}");
}

#[test]
fn a_learner_for_one_request_ends_after_it() {
    let learner = Learner::new("learn-once", &["--once"]);
    let (socket, images_in) = (learner.socket(), learner.images());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!learner.start("number", "7"));
    learner.said();
    assert!(has_valid_image(&images_in) && !socket.exists());
}

#[test]
fn there_is_one_learner_at_a_socket() {
    let learner = Learner::new("learn-two", &[]);
    let second = |socket: &Path| {
        morselctl(&[&"learn", &"--idle", &"1", &"--socket", &socket, &"--into", &learner.images()])
    };
    assert!(text(&second(&learner.socket()).stderr).contains("somebody listens there already"));
    assert!(text(&second(&learner.dir.join("number")).stderr).contains("a file that is no socket"));
    // One that is left over is nobody's.
    drop(UnixDatagram::bind(learner.dir.join("stale")).unwrap());
    assert!(second(&learner.dir.join("stale")).status.success());
}

#[test]
fn whoever_listens_to_everybody_does_not_let_them_choose_libraries() {
    let learner = Learner::new("learn-everyone", &["--everyone", "--idle", "1"]);
    let (socket, images_in) = (learner.socket(), learner.images());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
    let mut command = Command::new(learner.dir.join("number"));
    command.env("LD_MORSEL_LEARN", &socket).env("LD_PRELOAD", learner.dir.join("lib/libnumber.so"));
    command.env("LD_MORSEL_IMAGE", format!("{}/", images_in.display()));
    assert_eq!(command.output().unwrap().stdout, b"7\n");
    let said = learner.said();
    assert!(said.contains("ignored: started with LD_LIBRARY_PATH, LD_PRELOAD or LD_MORSEL_LIBC"), "{said}");
    assert!(images(&images_in).is_empty());
}
