//! Machine code of which one cannot be certain is refused, with the reason; what has been changed wrongly is found.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use common::code::{C, CXX, check, check_with, checked_sections, library, own_slots, read, shape, units};
use common::{folder, run};
use ld_morsel::elf::Vaddr;
use morselctl::code::moves::{self, Unit};
use morselctl::code::{Code, Patch, calls, overlay};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A library whose parts have been moved apart and whose calls are direct: whatever byte is changed, the verifier says so.
#[test]
fn no_mutation_escapes_the_verifier() {
    let variants: [(&str, &str, &[&str]); 4] = [
        ("gcc", C, &["-O2"]),
        ("gcc", C, &["-O2", "-fno-plt"]),
        ("clang", C, &["-O2", "-fsemantic-interposition"]),
        ("g++", CXX, &["-O2", "-fcf-protection", "-Wl,-z,ibtplt"]),
    ];
    for (index, (compiler, source, flags)) in variants.into_iter().enumerate() {
        let what = format!("{compiler} {flags:?}");
        let dir = folder(&format!("code-mutations-{index}"));
        let shape = shape(&dir, "bfd", [0x4000_0000, 0x2000_0000]);
        let flags: Vec<&str> = flags.iter().copied().chain(shape.iter().map(String::as_str)).collect();
        let original = fs::read(library(&dir, "lib.so", compiler, source, &flags)).unwrap();
        let code = read(&original, &what);
        let units = units(&code, [0, 0x765_4000, 0x321_1000]);
        let (bias, slots) = (0x7000_0000_0000, own_slots(&code));
        let slots: BTreeMap<_, _> = slots.into_iter().map(|(slot, target)| (slot, target + bias)).collect();
        let moved = moves::patches(&code, &units).unwrap();
        let direct = calls::patches(&code, bias, &slots);
        let patches = overlay(&moved, &direct.patches).unwrap();
        let found = check(&code, &patches, &units, bias, &slots).unwrap();
        assert!(found.moved > 5 && found.direct == direct.patches.len(), "{what}: {found:?}");

        let length: usize = checked_sections(&code).map(|section| section.bytes.len()).sum();
        let mut runner =
            TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
        let mutations = (0..length, 1..=255u8, proptest::option::of(0..length));
        let result = runner.run(&mutations, |(first, bits, second)| {
            let places = [Some(first), second].into_iter().flatten();
            let mutated = check_with(&code, &patches, &units, bias, &slots, |bytes| {
                for place in places {
                    let mut place = place;
                    let section = bytes.iter_mut().find(|section| {
                        let here = place < section.len();
                        place -= if here { 0 } else { section.len() };
                        here
                    });
                    section.unwrap()[place] ^= bits;
                }
            });
            prop_assert!(mutated.is_err() || second == Some(first));
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{what}: {error}"));
        for patch in &patches {
            let forgotten: Vec<Patch> = patches.iter().filter(|other| *other != patch).copied().collect();
            let is_code = code.section_at(patch.at).unwrap().executable;
            let is_call = direct.patches.contains(patch);
            let result = check(&code, &forgotten, &units, bias, &slots);
            // A call that stays indirect is right unless its slot has moved; forgotten data looks like unchanged data.
            assert!(result.is_err() || !is_code || is_call, "{what}: {patch:x?}");
        }
    }
}

/// Whatever the bytes are, there is an answer.
#[test]
fn damaged_files_are_refused_or_read() {
    let dir = folder("code-damaged");
    let original = fs::read(library(&dir, "lib.so", "g++", CXX, &["-O2", "-Wl,--emit-relocs"])).unwrap();
    let mut runner = TestRunner::new(Config { cases: 3000, failure_persistence: None, ..Config::default() });
    let changes = proptest::collection::vec((0..original.len(), any::<u8>()), 1..8);
    let result = runner.run(&(changes, 0..original.len()), |(changes, end)| {
        let mut bytes = original.clone();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        bytes.truncate(if end % 4 == 0 { end } else { original.len() });
        if let Ok(code) = Code::read(&bytes) {
            let _ = moves::patches(&code, &units(&code, [0, 1 << 21, 1 << 22]));
            let _ = calls::patches(&code, 0, &own_slots(&code));
        }
        Ok(())
    });
    result.unwrap();
}

/// What is wrong is found, and said with its address.
#[test]
fn uncertain_code_is_refused_with_the_reason() {
    // What is in a function that has a size and an unwind table, and what is behind it.
    let cases: [(&str, &str, &str, &str); 13] = [
        ("good", "lea f(%rip), %rax\nret", ".p2align 5", ""),
        ("followed", "jmp g", "ret\ng: call g\nret", "belongs to no function"),
        ("reached", "jmp g", ".p2align 4\ng: call g\nret", ""),
        ("unreached", "ret", ".quad 0x1122334455667788", "belongs to no function"),
        ("middle", "jmp 1f+1\n1: mov $1, %eax\nret", "", "where no instruction begins"),
        ("outside", "jmp f+0x100000", "", "where no instruction begins"),
        ("table", "lea 1f(%rip), %rax\njmp *(%rax)\n1: .quad 0x9090909090909090", "", "among code"),
        ("constant", "mov 1f(%rip), %rax\nret\n1: .quad 0x9090909090909090", "", "among code"),
        ("invalid", ".byte 6\nret", "", "no valid instruction"),
        ("privileged", "wrmsr\nret", "", "privileged instruction"),
        ("overrun", ".byte 0xe8, 0, 0", "nop\nnop", "reaches over the end"),
        ("object", "ret", ".type table,@object\n.size table,4\ntable: .long 0x90909090", "variable table"),
        ("writes", "ret", ".quad f", "read-only"),
    ];
    let dir = folder("code-refusals");
    for (name, body, behind, expected) in cases {
        let (source, file) = (dir.join(format!("{name}.s")), dir.join(format!("{name}.so")));
        let body = format!(".type f,@function\nf: .cfi_startproc\n{body}\n.cfi_endproc\n.size f, .-f\n");
        fs::write(&source, format!(".text\n{body}\n{behind}\n")).unwrap();
        let mut gcc = Command::new("gcc");
        run(gcc.args(["-shared", "-nostdlib", "-Wl,-z,notext", "-o"]).arg(&file).arg(&source));
        let bytes = fs::read(&file).unwrap();
        let result = Code::read(&bytes).map(drop).map_err(|error| error.to_string());
        match expected {
            "" => assert_eq!(result, Ok(()), "{name}"),
            _ => assert!(result.clone().unwrap_err().contains(expected), "{name}: {result:?}"),
        }
    }
}

/// Addresses of which it cannot be said in which part their object is keep a library together.
#[test]
fn ambiguous_addresses_are_refused_with_the_reason() {
    let cases = [
        ("object", "mov object(%rip), %rax", ""),
        ("beginning", "lea object(%rip), %rax", ""),
        ("end", "lea object+8(%rip), %rax", ""),
        ("sealed", "lea sealed(%rip), %rax", ""),
        ("slot", "lea slot(%rip), %rax", "which holds no objects"),
        ("biased", "lea object-8(%rip), %rax", "which holds no objects"),
        ("dynamic", "mov _DYNAMIC+16(%rip), %rax", "which holds no objects"),
        ("outside", "lea object+0x100000(%rip), %rax", "outside all sections"),
        ("edge", "lea object+8(%rip), %rax", "the end of .data and the beginning of .bss"),
        ("odd", "lea odd(%rip), %rax", "may hold distances"),
    ];
    let dir = folder("code-ambiguous");
    for (name, body, expected) in cases {
        let (source, file) = (dir.join(format!("{name}.s")), dir.join(format!("{name}.so")));
        let odd = if name == "odd" { ".section odd_ones, \"a\"\nodd: .long object - .\n" } else { "" };
        let data = format!(
            ".section .got, \"aw\"\nslot: .quad 0\n{odd}.data\nobject: .quad 1\n.bss\nzeroed: .zero 8\n"
        );
        let sealed = ".section .data.rel.ro, \"aw\"\nsealed: .quad sealed\n";
        let text = format!("{data}{sealed}.text\n.type f,@function\nf: {body}\nret\n.size f, .-f\n");
        fs::write(&source, text).unwrap();
        let mut gcc = Command::new("gcc");
        run(gcc.args(["-shared", "-nostdlib", "-Wl,-z,now", "-o"]).arg(&file).arg(&source));
        let bytes = fs::read(&file).unwrap();
        let code = read(&bytes, name);
        let starts = |name| code.section(name).map(|section| section.range.start);
        let sealed = code.sections().iter().find(|section| section.writable).unwrap().range.start;
        // The last part is data, or what of it is zeroed, where the other data are part of the second.
        let data = starts(if name == "edge" { ".bss" } else { ".data" }).unwrap();
        let parts =
            [Vaddr(0)..sealed, sealed..data, data..Vaddr(1 << 40)].into_iter().zip([0, 1 << 21, 1 << 22]);
        let units: Vec<Unit> = parts.map(|(range, shift)| Unit { range, shift }).collect();
        let result = moves::patches(&code, &units).map(drop).map_err(|error| error.to_string());
        match expected {
            "" => assert_eq!(result, Ok(()), "{name}"),
            _ => assert!(result.clone().unwrap_err().contains(expected), "{name}: {result:?}"),
        }
    }
}
