//! Installing into root directories of the shapes that there are, and taking it back.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{STOCK, folder, loader, morselctl, refusal, text};

const NAME: &str = "lib/ld-musl-x86_64.so.1";
const KEPT: &str = "usr/lib/ld-morsel/libc.so";

/// A root directory.
struct Root(PathBuf);

impl Root {
    /// As Alpine has it: the loader is the file, another name is a link to it.
    fn plain(name: &str) -> Self {
        let dir = folder(name);
        fs::create_dir_all(dir.join("lib")).unwrap();
        fs::create_dir_all(dir.join("usr/lib")).unwrap();
        fs::copy(STOCK, dir.join(NAME)).unwrap();
        Self(dir)
    }

    /// As Debian has it: /lib leads to /usr/lib, and the loader's name to libc.so by a relative or an absolute link.
    fn linked(name: &str, points_to: &str) -> Self {
        let dir = folder(name);
        fs::create_dir_all(dir.join("usr/lib/x86_64-linux-musl")).unwrap();
        symlink("/usr/lib", dir.join("lib")).unwrap();
        fs::copy(STOCK, dir.join("usr/lib/x86_64-linux-musl/libc.so")).unwrap();
        symlink(points_to, dir.join("usr").join(NAME)).unwrap();
        Self(dir)
    }

    fn at(&self, path: &str) -> PathBuf {
        match fs::read_link(self.0.join("lib")) {
            Ok(_) => self.0.join("usr").join(path),
            Err(_) => self.0.join(path),
        }
    }

    fn install(&self) -> String {
        let output = morselctl(&[&"install", &"--root", &self.0, &"--loader", &loader()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn uninstall(&self) -> String {
        let output = morselctl(&[&"uninstall", &"--root", &self.0]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Whether the loader is a fused file, and everything that there was is kept.
    fn is_installed(&self) -> bool {
        let loader = self.at(NAME);
        let is_file = fs::symlink_metadata(&loader).unwrap().is_file();
        // Only ld-morsel has words for this.
        let output = Command::new(&loader).env("LD_MORSEL_LOG", "nonsense").output().unwrap();
        assert!(self.leftovers().is_empty(), "{:?}", self.leftovers());
        is_file
            && text(&output.stderr).contains("LD_MORSEL_LOG=nonsense")
            && fs::read(self.0.join(KEPT)).unwrap() == fs::read(STOCK).unwrap()
    }

    /// Temporary files.
    fn leftovers(&self) -> Vec<PathBuf> {
        let found = Command::new("find").arg(&self.0).args(["-name", ".*"]).output().unwrap();
        text(&found.stdout).lines().map(PathBuf::from).collect()
    }
}

fn is_stock(file: &Path) -> bool {
    fs::read(file).unwrap() == fs::read(STOCK).unwrap()
}

#[test]
fn a_file_is_replaced_and_comes_back_as_it_was() {
    let root = Root::plain("install-file");
    let before = fs::metadata(root.at(NAME)).unwrap();
    root.install();
    assert!(root.is_installed());
    assert_eq!(fs::metadata(root.at(NAME)).unwrap().permissions().mode() & 0o7777, before.mode() & 0o7777);
    assert!(root.uninstall().contains("former loader"));
    let after = fs::metadata(root.at(NAME)).unwrap();
    assert!(is_stock(&root.at(NAME)) && !root.0.join("usr/lib/ld-morsel").exists());
    assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()));
}

#[test]
fn a_link_is_replaced_and_comes_back_as_it_was() {
    for points_to in ["x86_64-linux-musl/libc.so", "/usr/lib/x86_64-linux-musl/libc.so"] {
        let root = Root::linked("install-link", points_to);
        root.install();
        assert!(root.is_installed());
        assert!(is_stock(&root.0.join("usr/lib/x86_64-linux-musl/libc.so")));
        root.uninstall();
        assert_eq!(fs::read_link(root.at(NAME)).unwrap(), Path::new(points_to));
        assert!(root.leftovers().is_empty() && !root.0.join("usr/lib/ld-morsel").exists());
    }
}

#[test]
fn doing_it_twice_is_harmless() {
    let root = Root::linked("install-twice", "x86_64-linux-musl/libc.so");
    root.install();
    root.install();
    assert!(root.is_installed());
    root.uninstall();
    assert!(root.uninstall().contains("nothing to do"));
    assert!(is_stock(&root.0.join("usr/lib/x86_64-linux-musl/libc.so")));
    assert_eq!(fs::read_link(root.at(NAME)).unwrap(), Path::new("x86_64-linux-musl/libc.so"));
}

#[test]
fn an_interruption_before_the_last_step_leaves_the_former_loader() {
    let root = Root::plain("install-interrupted");
    fs::create_dir_all(root.0.join("usr/lib/ld-morsel")).unwrap();
    fs::hard_link(root.at(NAME), root.0.join(KEPT)).unwrap();
    assert!(root.uninstall().contains("nothing to do"));
    assert!(is_stock(&root.at(NAME)) && !root.0.join(KEPT).exists());
    fs::create_dir_all(root.0.join("usr/lib/ld-morsel")).unwrap();
    fs::hard_link(root.at(NAME), root.0.join(KEPT)).unwrap();
    root.install();
    assert!(root.is_installed());
}

#[test]
fn a_loader_that_a_package_manager_put_back_stays() {
    let root = Root::plain("install-upgrade");
    root.install();
    fs::remove_file(root.at(NAME)).unwrap();
    let newer = std::env::var_os("DIFFTEST_MUSL125").expect("DIFFTEST_MUSL125 names musl 1.2.5's libc.so");
    fs::copy(&newer, root.at(NAME)).unwrap();
    assert!(root.uninstall().contains("nothing to do"));
    assert_eq!(fs::read(root.at(NAME)).unwrap(), fs::read(&newer).unwrap());
    root.install();
    assert_eq!(fs::read(root.0.join(KEPT)).unwrap(), fs::read(&newer).unwrap());
}

#[test]
fn nothing_changes_where_it_cannot_work() {
    let root = Root::plain("install-refused");
    let install = |root: &Path, loader: &dyn AsRef<std::ffi::OsStr>| {
        refusal(&[&"install", &"--root", &root, &"--loader", loader])
    };
    assert!(install(&root.0, &STOCK).contains("not an ld-morsel"));
    assert!(install(&root.0.join("usr"), &loader()).contains("there is no musl"));
    assert!(install(&root.0.join("nowhere"), &loader()).contains("no root directory"));
    assert!(is_stock(&root.at(NAME)) && !root.0.join("usr/lib/ld-morsel").exists());
    // Without the kept libc there is no way back.
    root.install();
    fs::remove_file(root.0.join(KEPT)).unwrap();
    assert!(refusal(&[&"uninstall", &"--root", &root.0]).contains("former loader is not there"));
    assert!(install(&root.0, &loader()).contains("kept libc cannot be used"));
}

#[test]
fn a_loader_that_does_not_work_is_not_installed() {
    let root = Root::plain("install-broken");
    let broken = root.0.join("broken");
    let mut bytes = fs::read(loader()).unwrap();
    let entry = u64::from_le_bytes(bytes[24..32].try_into().unwrap()) as usize;
    // In a file whose first segment begins at 0, an address of its is an offset.
    bytes[entry..entry + 2].copy_from_slice(&[0x0f, 0x0b]);
    fs::write(&broken, bytes).unwrap();
    let message = refusal(&[&"install", &"--root", &root.0, &"--loader", &broken]);
    assert!(message.contains("does not work here"), "{message}");
    assert!(is_stock(&root.at(NAME)) && root.leftovers().is_empty());
}

/// System calls that change a file system.
const CHANGES: [&str; 9] =
    ["mkdir", "openat", "linkat", "symlink", "rename", "fsync", "fchown", "unlink", "rmdir"];

/// Runs a job until it is killed at the `count`th call of this name. Whether there was one.
fn kill_at(job: &str, root: &Root, call: &str, count: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={count}")]);
    strace.arg(env!("CARGO_BIN_EXE_morselctl")).arg(job).arg("--root").arg(&root.0);
    if job == "install" {
        strace.arg("--loader").arg(loader());
    }
    !strace.output().unwrap().status.success()
}

#[test]
fn a_job_killed_at_any_moment_leaves_a_loader_and_both_ways_open() {
    let (link, mut kills) = ("x86_64-linux-musl/libc.so", 0);
    for (job, call) in ["install", "uninstall"].into_iter().flat_map(|job| CHANGES.map(|call| (job, call))) {
        for count in 1.. {
            let root = Root::linked("install-killed", link);
            if job == "uninstall" {
                root.install();
            }
            if !kill_at(job, &root, call, count) {
                break;
            }
            kills += 1;
            let usage = Command::new(root.at(NAME)).output().unwrap();
            assert!(text(&usage.stderr).starts_with("musl libc"), "no loader: {job}, {call} {count}");
            root.install();
            assert!(root.is_installed(), "{job}, {call} {count}");
            root.uninstall();
            assert_eq!(fs::read_link(root.at(NAME)).unwrap(), Path::new(link));
            assert!(root.leftovers().is_empty());
        }
    }
    assert!(kills > 20, "killed only {kills} times");
}
