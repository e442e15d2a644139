//! Fused files: they run programs, they are sound for the tools that read ELF files, programs can be linked against them,
//! and what is no libc or no loader is refused.

mod common;

use std::fs;
use std::process::Command;

use common::{STOCK, folder, fuse, loader, refusal, run, text};

const HELLO: &str = "#include <stdio.h>\nint main(int c, char **v) { printf(\"%s\\n\", v[c - 1]); }\n";

#[test]
fn a_program_is_started_by_the_kernel_and_by_command() {
    let dir = folder("fuse-runs");
    let fused = fuse(&dir);
    let (source, program) = (dir.join("hello.c"), dir.join("hello"));
    fs::write(&source, HELLO).unwrap();
    let interpreter = format!("-Wl,--dynamic-linker={}", fused.display());
    run(Command::new("musl-gcc").arg(&source).arg("-o").arg(&program).arg(interpreter));
    assert_eq!(run(Command::new(&program).arg("by the kernel")), "by the kernel\n");
    assert_eq!(run(Command::new(&fused).arg(&program).arg("by command")), "by command\n");
    // The kernel has mapped the only libc there is.
    let statistics = Command::new(&program).env("LD_MORSEL_STATS", "-").output().unwrap();
    assert!(text(&statistics.stderr).contains('{'), "this is not ld-morsel");
    let listed = run(Command::new(&fused).arg("--list").arg(&program));
    let addresses: Vec<_> = listed.lines().filter_map(|line| line.split('(').nth(1)).collect();
    assert!(addresses.len() == 2 && addresses[0] == addresses[1], "{listed}");
}

#[test]
fn stock_musl_takes_it_for_a_libc() {
    let dir = folder("fuse-usage");
    let usage = |file: &str| text(&Command::new(file).output().unwrap().stderr).replace(file, "FILE");
    assert_eq!(usage(&fuse(&dir).display().to_string()), usage(STOCK));
}

#[test]
fn tools_read_it_without_complaint() {
    let dir = folder("fuse-tools");
    let fused = fuse(&dir);
    let readelf = Command::new("readelf").args(["-aW"]).arg(&fused).output().unwrap();
    assert_eq!(text(&readelf.stderr), "");
    let symbols = |file: &str| run(Command::new("nm").arg("-D").arg(file));
    assert_eq!(symbols(&fused.display().to_string()), symbols(STOCK));
    let code = run(Command::new("objdump").args(["-d", "-j", ".ld-morsel.text"]).arg(&fused));
    assert!(code.lines().count() > 1000, "the loader's code is not seen");
    let gdb = run(Command::new("gdb").args(["-batch", "-nx", "-ex", "info symbol malloc"]).arg(&fused));
    assert!(gdb.contains("malloc in section .text"), "{gdb}");
}

#[test]
fn programs_are_linked_against_it() {
    let dir = folder("fuse-links");
    let fused = fuse(&dir);
    fs::rename(&fused, dir.join("libc.so")).unwrap();
    let source = dir.join("hello.c");
    fs::write(&source, HELLO).unwrap();
    for linker in ["bfd", "lld", "mold"] {
        let program = dir.join(linker);
        let mut gcc = Command::new("musl-gcc");
        gcc.arg(&source).arg("-o").arg(&program).arg(format!("-fuse-ld={linker}")).arg("-L").arg(&dir);
        run(gcc.arg("-Wl,--trace").arg("-Wl,--no-undefined"));
        assert_eq!(run(Command::new(&program).arg(linker)), format!("{linker}\n"));
    }
}

#[test]
fn every_libc_version_can_be_fused() {
    let Some(other) = std::env::var_os("DIFFTEST_MUSL125") else {
        panic!("DIFFTEST_MUSL125 must name musl 1.2.5's libc.so; `cargo xtask test` sets it");
    };
    let file = folder("fuse-1.2.5").join("fused.so");
    let output = common::morselctl(&[&"fuse", &other, &"-o", &file, &"--loader", &loader()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&Command::new(&file).output().unwrap().stderr).contains("Version 1.2.5"));
}

#[test]
fn what_does_not_fit_is_refused_with_its_name_and_the_cause() {
    let dir = folder("fuse-refuses");
    let (fused, loader) = (fuse(&dir), loader());
    let (notes, cut) = (dir.join("notes.txt"), dir.join("cut.so"));
    fs::write(&notes, "not an ELF file, but long enough to be looked at: it has more than 64 bytes").unwrap();
    fs::write(&cut, &fs::read(STOCK).unwrap()[..300_000]).unwrap();
    let glibc = "/lib/x86_64-linux-gnu/libc.so.6";
    let out = dir.join("out.so");
    let refused = |libc: &dyn AsRef<std::ffi::OsStr>, loader: &dyn AsRef<std::ffi::OsStr>| {
        let message = refusal(&[&"fuse", libc, &"-o", &out, &"--loader", loader]);
        assert!(!out.exists());
        message
    };
    for (message, name, cause) in [
        (refused(&fused, &loader), "fused.so", "already fused"),
        (refused(&loader, &loader), "ld-morsel", "ld-morsel itself"),
        (refused(&glibc, &loader), "libc.so.6", "not musl's libc"),
        (refused(&"/lib/x86_64-linux-gnu/libm.so.6", &loader), "libm.so.6", "not a libc"),
        (refused(&notes, &loader), "notes.txt", "not an ELF file"),
        (refused(&cut, &loader), "cut.so", "truncated file"),
        (refused(&dir.join("absent"), &loader), "absent", "No such file"),
        (refused(&STOCK, &STOCK), "ld-musl-x86_64.so.1", "not an ld-morsel"),
        (refused(&STOCK, &fused), "fused.so", "already fused"),
    ] {
        assert!(message.contains(name) && message.contains(cause), "{cause}: {message}");
    }
    let own = dir.join("libc.so");
    fs::copy(STOCK, &own).unwrap();
    let message = refusal(&[&"fuse", &own, &"-o", &own, &"--loader", &loader]);
    assert!(message.contains("is the libc itself"), "{message}");
    assert_eq!(fs::read(&own).unwrap(), fs::read(STOCK).unwrap());
}
