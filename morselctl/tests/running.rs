//! `inspect --running`: what a process has of its image.

mod common;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{compile, compile_for, folder, loader, morselctl, refusal, run, text};
use serde_json::Value;

const LIBRARY: &str = "int counter = 1; int count(void) { return ++counter; }";
const PROGRAM: &str = r#"
#include <stdio.h>
int count(void);
int main(void) { printf("%d\n", count()); fflush(stdout); return getchar() == EOF; }
"#;

/// Three MiB of code, of which the last function is called.
const LARGE: &str = r#"
__asm__(".text\n.fill 0x300000, 1, 0x90\n");
int counter = 1; int count(void) { return ++counter; }
"#;

/// A tmpfs whose files are in huge pages.
struct HugeFiles(PathBuf);

impl HugeFiles {
    fn new(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "huge=always,mode=755", "tmpfs"]).arg(&dir));
        Self(dir)
    }
}

impl Drop for HugeFiles {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A program that waits for the end of its input.
struct Waiting(Child);

impl Waiting {
    fn start(program: &Path, image: &str) -> Self {
        let mut command = Command::new(program);
        command.env("LD_MORSEL_IMAGE", image).env_remove("LD_LIBRARY_PATH");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 2];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"2\n");
        Self(child)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn it_tells_which_pages_are_private() {
    let dir = folder("running");
    compile(&dir.join("libcount.so"), LIBRARY, &["-shared", "-fPIC"]);
    let search = format!("-L{}", dir.display());
    compile_for(&loader(), &dir.join("prog"), PROGRAM, &[&search, "-lcount", "-Wl,-rpath,$ORIGIN"]);
    let image = dir.join("image");
    let output = morselctl(&[&"build", &dir.join("prog"), &"-o", &image]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let waiting = Waiting::start(&dir.join("prog"), &format!("require:{}", image.display()));
    let id = waiting.0.id().to_string();
    let output = morselctl(&[&"inspect", &"--json", &"--running", &id]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mappings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let with = |part: &str| {
        let holds = |mapping: &&Value| mapping["parts"].as_array().unwrap().contains(&part.into());
        let found = mappings.as_array().unwrap().iter().find(holds);
        found.unwrap_or_else(|| panic!("no {part} in {mappings:#}"))
    };
    let (code, data) = (with(".text:libcount.so"), with(".data:libcount.so"));
    assert_eq!((&code["private"], &code["huge"]), (&0.into(), &0.into()), "{mappings:#}");
    assert!(code["access"].as_str().unwrap().contains('x') && code["image"] == image.display().to_string());
    assert!(data["private"].as_u64().unwrap() >= 4096, "{mappings:#}");
    let shown = morselctl(&[&"inspect", &"--running", &id]);
    assert!(text(&shown.stdout).contains(".text:libcount.so"), "{}", text(&shown.stdout));
    drop(waiting);

    let waiting = Waiting::start(&dir.join("prog"), "off");
    let id = waiting.0.id().to_string();
    assert!(refusal(&[&"inspect", &"--running", &id]).contains("has no image"));
    assert!(refusal(&[&"inspect", &"--running", &"999999999"]).contains("/proc/999999999/smaps"));
}

#[test]
fn code_on_a_tmpfs_is_in_huge_pages() {
    let dir = folder("running-huge");
    let script = concat!("-Wl,-T,", env!("CARGO_MANIFEST_DIR"), "/../linker-scripts/morsel.ld");
    compile(&dir.join("libcount.so"), LARGE, &["-shared", "-fPIC", script]);
    let search = format!("-L{}", dir.display());
    compile_for(&loader(), &dir.join("prog"), PROGRAM, &[&search, "-lcount", "-Wl,-rpath,$ORIGIN"]);
    let files = HugeFiles::new(dir.join("files"));
    let image = files.0.join("image");
    let output = morselctl(&[&"build", &dir.join("prog"), &"-o", &image]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let waiting = Waiting::start(&dir.join("prog"), &format!("require:{}", image.display()));
    let output = morselctl(&[&"inspect", &"--json", &"--running", &waiting.0.id().to_string()]);
    let mappings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let huge = mappings.as_array().unwrap().iter().filter_map(|mapping| mapping["huge"].as_u64());
    assert!(huge.sum::<u64>() >= 2 << 20, "{mappings:#}");
}
