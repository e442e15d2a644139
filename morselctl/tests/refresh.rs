//! What `refresh` builds, leaves and removes, and what it says of configuration files.

mod common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{folder, images, program, text};

/// A directory of programs, one of images, and a configuration file.
struct Place {
    dir: PathBuf,
    images: PathBuf,
    config: PathBuf,
}

impl Place {
    fn new(name: &str, programs: &[&str]) -> Self {
        let dir = folder(name);
        programs.iter().zip(1..).for_each(|(name, number)| program(&dir, name, number));
        let place = Self { images: dir.join("images"), config: dir.join("ld-morsel.toml"), dir };
        place.configure("[[image]]\nprograms = [\"DIR/*\"]\n");
        place
    }

    fn configure(&self, text: &str) {
        fs::write(&self.config, text.replace("DIR", &self.dir.display().to_string())).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_morselctl"));
        command.args(["refresh", "--system", "--config"]).arg(&self.config).arg(&self.images);
        command
    }

    fn refresh(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Refreshes, which must succeed; the summary.
    #[track_caller]
    fn summary(&self) -> String {
        let output = self.refresh();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        summary(&output)
    }

    /// The images with what tells whether they are the same files.
    fn state(&self) -> HashMap<PathBuf, (u64, i64, i64)> {
        let stamp = |path: &Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
        };
        images(&self.images).into_iter().map(|path| (path.clone(), stamp(&path))).collect()
    }

    /// What `inspect` says of a program's image.
    fn inspect(&self, name: &str) -> serde_json::Value {
        let mut inspect = Command::new(env!("CARGO_BIN_EXE_morselctl"));
        let output = inspect.args(["inspect", "--json"]).arg(self.image_of(name)).output().unwrap();
        let described: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        described[0]["programs"][0].clone()
    }

    fn image_of(&self, name: &str) -> PathBuf {
        let metadata = fs::metadata(self.dir.join(name)).unwrap();
        self.images.join(format!("{:x}-{:x}", metadata.dev(), metadata.ino()))
    }
}

/// The last line, without the directory.
fn summary(output: &Output) -> String {
    let stdout = text(&output.stdout);
    stdout.lines().last().unwrap().split_once(": ").unwrap().1.to_owned()
}

fn touch(path: &Path) {
    File::open(path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
}

#[test]
fn only_what_has_changed_is_built_anew() {
    let place = Place::new("refresh-changed", &["one", "two", "three"]);
    assert_eq!(place.summary(), "3 images built, 0 unchanged, 0 removed, 0 failed");
    let before = place.state();
    assert_eq!(place.summary(), "0 images built, 3 unchanged, 0 removed, 0 failed");
    assert_eq!(place.state(), before);
    touch(&place.dir.join("lib/libtwo.so"));
    assert_eq!(place.summary(), "1 images built, 2 unchanged, 0 removed, 0 failed");
    let after = place.state();
    let changed: Vec<_> = before.keys().filter(|path| before[*path] != after[*path]).collect();
    assert_eq!(changed, [&place.image_of("two")]);
}

#[test]
fn what_is_gone_is_removed() {
    let place = Place::new("refresh-gone", &["one", "two", "three"]);
    place.summary();
    let (gone, replaced) = (place.image_of("one"), place.image_of("two"));
    // In this order, or else the new file may get the inode of the one that is gone.
    fs::copy(place.dir.join("two"), place.dir.join("new")).unwrap();
    fs::remove_file(place.dir.join("one")).unwrap();
    fs::rename(place.dir.join("new"), place.dir.join("two")).unwrap();
    assert_eq!(place.summary(), "1 images built, 1 unchanged, 2 removed, 0 failed");
    assert!(!gone.exists() && !replaced.exists() && place.image_of("two").exists());
}

#[test]
fn what_is_not_listed_is_refreshed_while_its_program_is_there() {
    let place = Place::new("refresh-unlisted", &["one", "two"]);
    place.summary();
    place.configure("[[image]]\nprograms = [\"DIR/two\"]\n");
    assert_eq!(place.summary(), "0 images built, 2 unchanged, 0 removed, 0 failed");
    touch(&place.dir.join("lib/libone.so"));
    let mut plain = Command::new(env!("CARGO_BIN_EXE_morselctl"));
    let output = plain.arg("refresh").arg(&place.images).output().unwrap();
    assert_eq!(summary(&output), "1 images built, 1 unchanged, 0 removed, 0 failed");
}

#[test]
fn what_is_damaged_is_replaced_or_removed() {
    let place = Place::new("refresh-damaged", &["one", "two"]);
    place.summary();
    place.configure("[[image]]\nprograms = [\"DIR/one\"]\n");
    for name in ["one", "two"] {
        let mut bytes = fs::read(place.image_of(name)).unwrap();
        bytes.truncate(5000);
        fs::remove_file(place.image_of(name)).unwrap();
        fs::write(place.image_of(name), bytes).unwrap();
    }
    // What is no image at all is nobody's business.
    fs::write(place.images.join("notes"), "text").unwrap();
    assert_eq!(place.summary(), "1 images built, 0 unchanged, 1 removed, 0 failed");
    assert!(place.image_of("one").exists() && !place.image_of("two").exists());
    assert!(place.images.join("notes").exists());
}

#[test]
fn refreshes_at_once_do_the_work_once() {
    let place = Place::new("refresh-at-once", &["one", "two", "three"]);
    let spawn = || place.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..5).map(|_| spawn()).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let mut summaries: Vec<String> = outputs.iter().map(summary).collect();
    summaries.sort();
    let idle = "0 images built, 3 unchanged, 0 removed, 0 failed";
    assert_eq!(summaries, [idle, idle, idle, idle, "3 images built, 0 unchanged, 0 removed, 0 failed"]);
    assert_eq!(images(&place.images).len(), 3);
}

#[test]
fn circumstances_come_from_the_configuration() {
    let place = Place::new("refresh-circumstances", &["one", "two"]);
    place.configure(
        "[defaults]\nlibrary-path = \"/nowhere\"\n\
         [[image]]\nprograms = [\"DIR/one\"]\npreload = \"DIR/lib/libtwo.so\"\n\
         [[image]]\nprograms = [\"DIR/*\"]\nlibrary-path = \"\"\n",
    );
    place.summary();
    let (one, two) = (place.inspect("one"), place.inspect("two"));
    assert_eq!(one["library_path"], "/nowhere");
    assert_eq!(one["preload"], place.dir.join("lib/libtwo.so").display().to_string());
    assert_eq!((&two["library_path"], &two["preload"]), (&"".into(), &serde_json::Value::Null));
    assert_eq!(place.summary(), "0 images built, 2 unchanged, 0 removed, 0 failed");
    // Other circumstances are a reason to build.
    place.configure("[[image]]\nprograms = [\"DIR/*\"]\nexclude = [\"DIR/tw?\"]\n");
    assert_eq!(place.summary(), "1 images built, 1 unchanged, 0 removed, 0 failed");
}

#[test]
fn passes_come_from_the_configuration() {
    let place = Place::new("refresh-passes", &["one", "two", "three"]);
    let list = place.dir.join("list").display().to_string();
    fs::write(&list, "libone.so\n").unwrap();
    let image = |name: &str, passes: &str| format!("[[image]]\nprograms = [\"DIR/{name}\"]\n{passes}\n");
    let configure = |three: &str| {
        place.configure(&format!(
            "[defaults]\npasses = [\"order=random\", \"default\"]\n{}{}{}",
            image("one", "passes = [\"direct-calls\", \"concatenate\", \"order=DIR/list\"]"),
            image("two", "passes = []"),
            image("three", three),
        ));
    };
    configure("");
    assert_eq!(place.summary(), "3 images built, 0 unchanged, 0 removed, 0 failed");
    let found = ["one", "two", "three"].map(|name| place.inspect(name)["passes"].clone());
    let chosen = format!("order={list},concatenate,direct-calls");
    assert_eq!(found, [chosen.as_str(), "none", "order=random,concatenate,huge-pages,prefetch"]);
    assert_eq!(place.summary(), "0 images built, 3 unchanged, 0 removed, 0 failed");
    // Other passes are a reason to build; one that refuses a file keeps its program, and no other, from having an image.
    configure("passes = [\"verify=DIR/list\"]");
    let output = place.refresh();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains(&format!("{list}: line 1 is not a SHA-256 and a path")), "{stderr}");
    assert_eq!(summary(&output), "0 images built, 2 unchanged, 1 removed, 1 failed");
}

#[test]
fn patterns_find_programs_of_this_loader_only() {
    let place = Place::new("refresh-patterns", &["one"]);
    fs::copy("/bin/true", place.dir.join("foreign")).unwrap();
    fs::write(place.dir.join("script"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("one", place.dir.join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.dir.join("dangling")).unwrap();
    assert_eq!(place.summary(), "1 images built, 0 unchanged, 0 removed, 0 failed");
    // What is listed by its name must work; what is not there may come.
    place.configure("[[image]]\nprograms = [\n \"DIR/absent\",\n \"DIR/script\", \"DIR/one\"]\n");
    let output = place.refresh();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains(&format!("ld-morsel.toml:3: there is no {}", place.dir.join("absent").display()))
    );
    assert!(stderr.contains(&place.dir.join("script").display().to_string()), "{stderr}");
    assert_eq!(summary(&output), "0 images built, 1 unchanged, 0 removed, 1 failed");
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_before_anything_is_done() {
    let place = Place::new("refresh-nonsense", &["one"]);
    let refused = |message: &str| {
        let output = place.refresh();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
        assert!(!place.images.exists());
    };
    place.configure("[[image]]\nprograms = [\"DIR/one\"]\npasses = [\"frobnicate\"]\n");
    refused("ld-morsel.toml:3: there is no pass `frobnicate`");
    place.configure("[[image]]\nprogram = [\"DIR/one\"]\n");
    refused("ld-morsel.toml:2: unknown field `program`");
    fs::remove_file(&place.config).unwrap();
    refused("ld-morsel.toml: No such file or directory");
}

#[test]
fn quiet_says_nothing_but_errors() {
    let place = Place::new("refresh-quiet", &["one"]);
    let output = place.command().arg("--quiet").output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(images(&place.images).len(), 1);
}

#[test]
fn a_terminal_sees_progress() {
    let place = Place::new("refresh-progress", &["one", "two"]);
    let mut terminal = Command::new("script");
    let command = place.command();
    let words =
        [command.get_program()].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy());
    terminal.args(["-qec", &words.collect::<Vec<_>>().join(" "), "/dev/null"]).stdin(Stdio::null());
    let output = text(&terminal.env("TERM", "xterm").output().unwrap().stdout);
    assert!(
        output.contains("/2 ") && output.contains(&place.dir.join("one").display().to_string()),
        "{output:?}"
    );
    assert!(output.contains("2 images built, 0 unchanged"), "{output:?}");
}

#[test]
fn the_programs_of_a_group_share_one_image() {
    let place = Place::new("refresh-group", &["one", "two", "three"]);
    place.configure("[[image]]\nshare = true\nprograms = [\"DIR/one\", \"DIR/t*\"]\n");
    assert_eq!(place.summary(), "1 images built, 0 unchanged, 0 removed, 0 failed");
    let inode = |name: &str| fs::metadata(place.image_of(name)).unwrap().ino();
    assert!(inode("one") == inode("two") && inode("one") == inode("three"));
    let before = place.state();
    assert_eq!(place.summary(), "0 images built, 1 unchanged, 0 removed, 0 failed");
    assert_eq!(place.state(), before);
    touch(&place.dir.join("lib/libtwo.so"));
    assert_eq!(place.summary(), "1 images built, 0 unchanged, 0 removed, 0 failed");
    assert!(inode("one") == inode("two") && place.state() != before);
    // A group that becomes smaller, and a program that is replaced.
    place.configure("[[image]]\nshare = true\nprograms = [\"DIR/one\", \"DIR/two\"]\n");
    fs::copy(place.dir.join("two"), place.dir.join("new")).unwrap();
    fs::rename(place.dir.join("new"), place.dir.join("two")).unwrap();
    let old = inode("three");
    let output = place.refresh();
    assert!(output.status.success(), "{output:?}");
    assert!(inode("one") == inode("two") && inode("one") != inode("three") && inode("three") != old);
    assert_eq!(images(&place.images).len(), 3);
    assert_eq!(place.summary(), "0 images built, 2 unchanged, 0 removed, 0 failed");
}

#[test]
fn one_that_cannot_have_an_image_does_not_spoil_the_group() {
    let place = Place::new("refresh-spoilt", &["one", "two", "bad"]);
    place.configure("[[image]]\nshare = true\nprograms = [\"DIR/one\", \"DIR/two\", \"DIR/bad\"]\n");
    fs::remove_file(place.dir.join("lib/libbad.so")).unwrap();
    let output = place.refresh();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Error loading shared library libbad.so"));
    assert_eq!(summary(&output), "2 images built, 0 unchanged, 0 removed, 1 failed");
    let before = place.state();
    assert_eq!(summary(&place.refresh()), "0 images built, 2 unchanged, 0 removed, 1 failed");
    assert_eq!(place.state(), before);
}
