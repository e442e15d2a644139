//! The hooks and packages in `packaging/` keep images up to date: in root directories of their own, with the real dpkg. apk is not
//! to be had here; its scripts run as apk runs them.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{STOCK, compile_for, folder, images, loader, run, text};
use serde_json::Value;

/// What dpkg and the scripts need of a system.
const TOOLS: [&str; 10] = [
    "sh",
    "dpkg",
    "dpkg-deb",
    "dpkg-split",
    "dpkg-query",
    "tar",
    "rm",
    "diff",
    "ldconfig",
    "start-stop-daemon",
];
/// Where a package has ld-morsel, and the package manager its hooks.
const LOADER: &str = "/usr/lib/ld-morsel/ld-morsel";
const CONFIG: &str = "[[image]]\nprograms = [\"/usr/bin/prog\"]\n";

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path)
}

/// A root directory with dpkg, a shell and musl.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let root = Self(folder(name));
        for directory in [
            "tmp",
            "etc/dpkg/dpkg.cfg.d",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/cache",
            "packages",
        ] {
            fs::create_dir_all(root.at(directory)).unwrap();
        }
        fs::write(root.at("var/lib/dpkg/status"), "").unwrap();
        for tool in TOOLS {
            let path = run(Command::new("sh")
                .arg("-c")
                .arg(format!("PATH=$PATH:/usr/sbin:/sbin; command -v {tool}")));
            root.provide(Path::new(path.trim()), &format!("/usr/bin/{tool}"));
        }
        fs::create_dir_all(root.at("bin")).unwrap();
        fs::copy(root.at("usr/bin/sh"), root.at("bin/sh")).unwrap();
        fs::create_dir_all(root.at("lib")).unwrap();
        fs::copy(STOCK, root.at("lib/ld-musl-x86_64.so.1")).unwrap();
        fs::write(root.at("etc/ld-morsel.toml"), CONFIG).unwrap();
        root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A program of this machine with the libraries that it needs.
    fn provide(&self, program: &Path, target: &str) {
        let copy = |from: &Path, to: &str| {
            let to = self.at(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        };
        copy(program, target);
        // A static program has none, which ldd finds worth a complaint.
        let listed = text(&Command::new("ldd").arg(program).output().unwrap().stdout);
        for path in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(path), path);
        }
    }

    /// What the packages would bring, put there by hand.
    fn provide_ld_morsel(&self) {
        self.provide(&loader(), LOADER);
        self.provide(Path::new(env!("CARGO_BIN_EXE_morselctl")), "/usr/bin/morselctl");
        fs::copy(packaging("refresh-images"), self.at("usr/lib/ld-morsel/refresh-images")).unwrap();
    }

    fn chroot(&self, command: &[&str]) -> Output {
        let mut chroot = Command::new("chroot");
        chroot
            .arg(&self.0)
            .args(command)
            .env_clear()
            .env("PATH", "/usr/bin:/usr/sbin")
            .env("LD_MORSEL_STATS", "-");
        loop {
            let output = chroot.output().unwrap();
            // A child that another test's thread has just forked has what this one wrote open still, until it executes its program.
            if !text(&output.stderr).contains("Text file busy") {
                return output;
            }
        }
    }

    #[track_caller]
    fn dpkg(&self, arguments: &[&str]) {
        let output = self.chroot(&[&["dpkg", "--force-unsafe-io"], arguments].concat());
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }

    /// Makes a package of the files, which `make` makes in its directory, and installs it.
    #[track_caller]
    fn install(&self, name: &str, version: u32, make: impl FnOnce(&Path)) {
        let stage = self.at("packages").join(name);
        let _ = fs::remove_dir_all(&stage);
        fs::create_dir_all(stage.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <nobody@localhost>\nDescription: a test\n"
        );
        fs::write(stage.join("DEBIAN/control"), control).unwrap();
        make(&stage);
        let package = format!("/packages/{name}.deb");
        let mut build = Command::new("dpkg-deb");
        run(build.args(["-Znone", "--root-owner-group", "--build"]).arg(&stage).arg(self.at(&package)));
        self.dpkg(&["--install", &package]);
    }

    fn install_library(&self, version: u32) {
        self.install("libnumber", version, |stage| library(stage, version));
    }

    fn install_program(&self) {
        self.install("prog", 1, program);
    }

    /// Runs the program, which must print the number; whether it has used an image.
    #[track_caller]
    fn uses_image(&self, number: u32) -> bool {
        let output = self.chroot(&["/usr/bin/prog"]);
        assert_eq!(text(&output.stdout), format!("{number}\n"), "{}", text(&output.stderr));
        let stats: Value = serde_json::from_slice(&output.stderr).unwrap();
        !stats["image"].is_null()
    }

    fn images(&self) -> usize {
        images(&self.at("var/cache/ld-morsel")).len()
    }
}

fn library(root: &Path, number: u32) {
    fs::create_dir_all(root.join("usr/lib")).unwrap();
    let source = format!("int number(void) {{ return {number}; }}");
    let new = root.join("usr/lib/libnumber.new");
    compile_for(Path::new(LOADER), &new, &source, &["-shared", "-fPIC", "-Wl,-soname,libnumber.so"]);
    fs::rename(new, root.join("usr/lib/libnumber.so")).unwrap();
}

fn program(root: &Path) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    // Any library of that name will do to link with.
    let dir = root.with_extension("link");
    library(&dir, 0);
    let search = format!("-L{}", dir.join("usr/lib").display());
    let source = "#include <stdio.h>\nint number(void); int main(void) { printf(\"%d\\n\", number()); }";
    compile_for(Path::new(LOADER), &root.join("usr/bin/prog"), source, &[&search, "-lnumber"]);
}

#[test]
fn the_debian_package_follows_what_dpkg_does() {
    let root = Root::new("packaging-deb");
    let mut build = Command::new(packaging("deb/build"));
    // What the tests are built of is large.
    build.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    let package = root.at("packages/ld-morsel.deb");
    run(build.arg(loader()).arg(env!("CARGO_BIN_EXE_morselctl")).arg("0.1.0").arg(&package));
    // Those libraries that the release's static morselctl does not need.
    root.provide(Path::new(env!("CARGO_BIN_EXE_morselctl")), "/packages/morselctl");
    root.dpkg(&["--install", "/packages/ld-morsel.deb"]);
    assert_eq!(root.images(), 0);
    root.install_library(1);
    root.install_program();
    assert!(root.uses_image(1) && root.images() == 1);
    root.install_library(2);
    assert!(root.uses_image(2) && root.images() == 1);
    root.dpkg(&["--remove", "prog"]);
    assert_eq!(root.images(), 0);
    root.install_program();
    assert!(root.uses_image(2));
    // Nothing stays in the way, neither of dpkg nor of anybody who wants the directory.
    root.dpkg(&["--purge", "ld-morsel"]);
    assert!(!root.at("var/cache/ld-morsel").exists() && !root.at("usr/lib/ld-morsel").exists());
}

#[test]
fn the_hook_in_dpkgs_configuration_follows_what_dpkg_does() {
    let root = Root::new("packaging-dpkg");
    root.provide_ld_morsel();
    fs::copy(packaging("dpkg/ld-morsel"), root.at("etc/dpkg/dpkg.cfg.d/ld-morsel")).unwrap();
    root.install_library(1);
    root.install_program();
    assert!(root.uses_image(1));
    root.install_library(2);
    assert!(root.uses_image(2) && root.images() == 1);
    // A system from which ld-morsel has been removed, but not the hook.
    fs::remove_dir_all(root.at("usr/lib/ld-morsel")).unwrap();
    root.install_library(3);
}

/// A root directory without package manager: the library and the program are there.
fn installed(name: &str) -> Root {
    let root = Root::new(name);
    root.provide_ld_morsel();
    library(&root.0, 1);
    program(&root.0);
    root
}

#[test]
fn apt_has_its_hook_run_after_dpkg() {
    let root = installed("packaging-apt");
    let mut config = Command::new("apt-config");
    let dump = run(config.arg("-c").arg(packaging("apt/90ld-morsel")).args([
        "dump",
        "--format",
        "%v%n",
        "DPkg::Post-Invoke",
    ]));
    let hook: Vec<&str> = dump.lines().filter(|line| line.contains("ld-morsel")).collect();
    assert_eq!(hook.len(), 1, "{dump}");
    let output = root.chroot(&["/bin/sh", "-c", hook[0]]);
    assert!(output.status.success() && root.uses_image(1), "{}", text(&output.stderr));
}

#[test]
fn apks_hook_acts_after_the_commit() {
    let root = installed("packaging-apk-hook");
    // The root directory is the working directory, and $0 relative to it.
    let hook = "lib/apk/commit_hooks.d/ld-morsel";
    fs::create_dir_all(root.at("lib/apk/commit_hooks.d")).unwrap();
    fs::copy(packaging("apk/commit_hooks.d/ld-morsel"), root.at(hook)).unwrap();
    let commit = |stage: &str| assert!(root.chroot(&[hook, stage]).status.success());
    commit("pre-commit");
    assert_eq!(root.images(), 0);
    commit("post-commit");
    assert!(root.uses_image(1));
    library(&root.0, 2);
    assert!(!root.uses_image(2));
    commit("post-commit");
    assert!(root.uses_image(2) && root.images() == 1);
}

#[test]
fn apks_trigger_and_its_package_are_complete() {
    let root = installed("packaging-apk-trigger");
    fs::copy(packaging("apk/ld-morsel.trigger"), root.at("trigger")).unwrap();
    assert!(root.chroot(&["/trigger", "/usr/lib", "/usr/bin"]).status.success());
    assert!(root.uses_image(1));
    fs::copy(packaging("apk/ld-morsel.post-deinstall"), root.at("post-deinstall")).unwrap();
    assert!(root.chroot(&["/post-deinstall", "0.1.0-r0"]).status.success());
    assert!(!root.at("var/cache/ld-morsel").exists());
    // What the APKBUILD names is there, and it is this version's.
    let mut shell = Command::new("sh");
    shell
        .arg("-ec")
        .arg(". ./APKBUILD; echo $pkgver; echo ${triggers%%=*} $install")
        .current_dir(packaging("apk"));
    let said = run(&mut shell);
    let (version, scripts) = said.split_once('\n').unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    for script in scripts.split_whitespace() {
        assert_eq!(
            fs::metadata(packaging("apk").join(script)).unwrap().permissions().mode() & 0o111,
            0o111,
            "{script}"
        );
    }
}

#[test]
fn package_managers_do_not_fail_because_of_images() {
    let root = installed("packaging-failure");
    let refresh = || root.chroot(&["/usr/lib/ld-morsel/refresh-images"]);
    fs::write(root.at("etc/ld-morsel.toml"), "[[image]]\n").unwrap();
    let output = refresh();
    assert!(
        output.status.success() && text(&output.stderr).contains("/etc/ld-morsel.toml:1: "),
        "{}",
        text(&output.stderr)
    );
    // Nobody wants images.
    fs::remove_file(root.at("etc/ld-morsel.toml")).unwrap();
    let output = refresh();
    assert!(output.status.success() && output.stderr.is_empty() && root.images() == 0);
    // morselctl is not there.
    fs::write(root.at("etc/ld-morsel.toml"), CONFIG).unwrap();
    fs::set_permissions(root.at("usr/bin/morselctl"), Permissions::from_mode(0o644)).unwrap();
    assert!(refresh().status.success());
}

#[test]
fn the_example_of_a_configuration_is_one() {
    let images = folder("packaging-example");
    let mut refresh = Command::new(env!("CARGO_BIN_EXE_morselctl"));
    run(refresh.args(["refresh", "--system", "--config"]).arg(packaging("ld-morsel.toml")).arg(images));
}
