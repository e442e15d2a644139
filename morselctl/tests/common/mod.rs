//! What the tests share: the tool, the loader, stock musl, and folders of their own.

#![allow(dead_code)] // Each test file is a program of its own and uses a part of this.

pub mod code;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Stock musl. Never modified.
pub const STOCK: &str = "/lib/ld-musl-x86_64.so.1";

/// The loader: `LD_MORSEL`, else the release build.
pub fn loader() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/ld-morsel");
    let loader = std::env::var_os("LD_MORSEL").map_or_else(built, PathBuf::from);
    assert!(loader.is_file(), "there is no {}: run `cargo build --release`", loader.display());
    loader
}

/// An empty folder for the test of this name.
pub fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The tool with these arguments.
pub fn morselctl(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_morselctl"));
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    command.output().unwrap()
}

/// A fused file in `dir`.
pub fn fuse(dir: &Path) -> PathBuf {
    let file = dir.join("fused.so");
    let output = morselctl(&[&"fuse", &STOCK, &"-o", &file, &"--loader", &loader()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    file
}

/// Runs a command that must succeed, and returns its output.
pub fn run(command: &mut Command) -> String {
    let output =
        command.env_remove("LD_LIBRARY_PATH").output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The message with which the tool refuses to do something.
pub fn refusal(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let output = morselctl(arguments);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

/// Compiles for musl; the program's interpreter is the loader under test.
pub fn compile(output: &Path, source: &str, options: &[&str]) {
    compile_for(&loader(), output, source, options);
}

/// The same with another interpreter.
pub fn compile_for(interpreter: &Path, output: &Path, source: &str, options: &[&str]) {
    let file = output.with_extension("c");
    fs::write(&file, source).unwrap();
    let mut command = Command::new("musl-gcc");
    command.arg("-O1").arg("-o").arg(output).arg(&file).args(options);
    run(command.arg(format!("-Wl,--dynamic-linker={}", interpreter.display())));
    fs::remove_file(file).unwrap();
}

/// Makes `dir/lib/libNAME.so` with a function `NAME` that returns the number, and the program `dir/NAME` that prints it.
pub fn program(dir: &Path, name: &str, number: u32) {
    let lib = dir.join("lib");
    fs::create_dir_all(&lib).unwrap();
    library(dir, name, number);
    let source =
        format!("#include <stdio.h>\nint {name}(void); int main(void) {{ printf(\"%d\\n\", {name}()); }}");
    let (search, needed) = (format!("-L{}", lib.display()), format!("-l{name}"));
    compile(&dir.join(name), &source, &[&search, &needed, &format!("-Wl,-rpath,{}", lib.display())]);
}

/// Makes that library anew.
pub fn library(dir: &Path, name: &str, number: u32) {
    let library = dir.join("lib").join(format!("lib{name}.so"));
    compile(&library, &format!("int {name}(void) {{ return {number}; }}"), &["-shared", "-fPIC"]);
}

/// The images in a directory.
pub fn images(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.')).collect();
    paths.sort();
    paths
}
