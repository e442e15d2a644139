//! What is in an image: libraries that several programs share, and libraries whose segments are far apart.

use std::fs;
use std::process::Command;

use difftest::images::fixture::{A, B, Fixture, RUN_PATH, USUAL};
use difftest::run::Ending;
use difftest::worlds::morselctl;

/// What `morselctl inspect --json` says of the image.
fn inspect(fixture: &Fixture) -> serde_json::Value {
    let mut command = Command::new(morselctl().expect("morselctl"));
    let output = command.args(["inspect", "--json"]).arg(fixture.image()).output().expect("morselctl");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    found.as_array().map_or(found.clone(), |list| list[0].clone())
}

#[test]
fn programs_share_an_image() {
    let fixture = Fixture::new();
    // Another program with the same libraries, one of which binds to what the program defines.
    let other = fixture.source(
        "other.c",
        "#include <stdio.h>\nconst char *a(void); const char *b(void) { return \"mine\"; }\nint main(void) { puts(a()); }",
    );
    let interpreter = format!("-Wl,--dynamic-linker={}", fixture.loader().display());
    fixture.compile("prog2", &other, &["-Llib", "-la", "-lb", &interpreter, RUN_PATH, "-rdynamic"]);
    let second = fixture.path("prog2");
    fixture.build(&[&second.display().to_string()]);
    let names = fs::read_dir(fixture.path("images")).expect("images").count();
    assert_eq!(names, 2, "one name for each program");
    assert_eq!(inspect(&fixture)["programs"].as_array().map(Vec::len), Some(2));
    for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
        fixture.uses_it(settings, USUAL);
        let outcome = fixture.run_as(&second, &[], settings);
        assert!(outcome.stderr.contains(" INFO  image /"), "{outcome:?}");
        assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), "mine a1"));
    }
    fixture.library("other/libx.so", A, "x1");
    let preload = fixture.path("other/libx.so").display().to_string();
    for place in ["image", "process"] {
        let settings = [("LD_PRELOAD", preload.as_str()), ("LD_MORSEL_ASLR", place)];
        fixture.uses_it(&settings, "b1 x1 b1 7");
        let outcome = fixture.run_as(&second, &[], &settings);
        assert!(!outcome.stderr.contains("is not used"), "{outcome:?}");
        assert_eq!((outcome.ending, outcome.stdout.trim()), (Ending::Exit(0), "mine x1"));
    }
}

#[test]
fn an_image_serves_only_its_programs() {
    let fixture = Fixture::new();
    fs::copy(fixture.path("prog"), fixture.path("copy")).expect("copy");
    let image = fixture.image().display().to_string();
    let outcome = fixture.run_as(&fixture.path("copy"), &[], &[("LD_MORSEL_IMAGE", &image)]);
    assert!(outcome.stderr.contains("is not used: made for other programs"), "{outcome:?}");
    assert_eq!(outcome.stdout.trim(), USUAL);
}

#[test]
fn what_compilers_add_to_libraries_is_not_called() {
    let fixture = Fixture::new();
    let end = "#include <stdio.h>\n__attribute__((destructor)) static void end(void) { puts(\"end\"); }";
    fixture.library("lib/libb.so", &format!("{B}\n{end}"), "b1");
    fixture.build(&[]);
    fixture.uses_it(&[], &format!("{USUAL}\nend"));
    let found = inspect(&fixture);
    let members = found["programs"][0]["members"].as_array().expect("members");
    let idle = |name: &str| {
        let member =
            members.iter().find(|member| member["name"].as_str().is_some_and(|path| path.ends_with(name)));
        let member = member.unwrap_or_else(|| panic!("no {name} in {found}"));
        ["idle_constructors", "idle_destructors"].map(|what| member[what].as_bool().expect("true or false"))
    };
    assert_eq!((idle("liba.so"), idle("libb.so")), ([true, true], [true, false]));
}

#[test]
fn segments_that_are_far_apart_are_gathered() {
    let fixture = Fixture::new();
    let script = concat!("-Wl,-T,", env!("CARGO_MANIFEST_DIR"), "/../linker-scripts/morsel.ld");
    let options =
        ["-shared", "-fPIC", script, "-Wl,-z,now", "-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=0x200000"];
    for (name, text, version) in [("lib/liba.so", A, "a1"), ("lib/libb.so", B, "b1")] {
        let source = fixture.source("library.c", &text.replace("VERSION", version));
        fixture.compile(name, &source, &options);
    }
    fixture.build(&[]);
    fixture.library("other/libx.so", B, "x1");
    let preload = fixture.path("other/libx.so").display().to_string();
    for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
        fixture.uses_it(settings, USUAL);
        fixture.uses_it(&[settings, &[("LD_PRELOAD", &preload)]].concat(), "x1 a1 x1 7");
    }
    // libc's code and data, and all code of the two libraries.
    let program = &inspect(&fixture)["programs"][0];
    assert_eq!((program["windows"].as_u64(), program["regions"].as_u64()), (Some(3), Some(3)), "{program}");
}

#[test]
fn parts_of_ordinary_libraries_are_gathered() {
    let fixture = Fixture::new();
    for passes in ["default,concatenate", "order=random,concatenate"] {
        let image = fixture.image();
        fs::remove_file(&image).expect("the image");
        fixture.build(&["--passes", passes]);
        for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
            fixture.uses_it(settings, USUAL);
        }
        // libc's code and data: what is far away is as its window, the code of the two libraries included.
        let program = &inspect(&fixture)["programs"][0];
        let found = (program["windows"].as_u64(), program["regions"].as_u64());
        assert_eq!(found, (Some(4), Some(2)), "{program}");
    }
}

/// Unwinding runs a cleanup of a library whose code has been moved, in the midst of a `switch`.
const UNWINDS: &str = r#"
    #include <unwind.h>
    // Each file has a static unwinder of its own; the one that goes through this library must be this one's.
    void unwind(_Unwind_Stop_Fn stop) { static struct _Unwind_Exception exception; _Unwind_ForcedUnwind(&exception, stop, 0); }
    int cleaned;
    static void clean(int *value) { cleaned += *value; }
    const char *b(void); const char *a(void) { return "VERSION"; } void *where(void) { return (void *)a; }
    int through(int which, void (*call_back)(void)) {
        int value __attribute__((cleanup(clean))) = 10 * which;
        switch (which) {
        case 0: return 5; case 1: b(); return 6; case 2: call_back(); return b()[0]; case 3: return 9;
        case 4: call_back(); call_back(); return 1; case 5: b(); return 3;
        }
        return which;
    }
"#;
/// It ends with what this machine's unwinder wants in place of `dl_iterate_phdr`.
const CASE: &str = include_str!("../../cases/unwind/through_program_and_library.c");
const UNWINDS_MAIN: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <link.h>
    #include <setjmp.h>
    #include <stdio.h>
    #include <unwind.h>
    int through(int, void (*)(void)); void unwind(_Unwind_Stop_Fn); extern int cleaned;
    static jmp_buf back;
    static _Unwind_Reason_Code stop(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
                                    struct _Unwind_Exception *exception, struct _Unwind_Context *context, void *unused) {
        Dl_info info;
        if (dladdr((void *)_Unwind_GetIP(context), &info) && info.dli_sname) printf("%s ", info.dli_sname);
        if (actions & _UA_END_OF_STACK) longjmp(back, 1);
        return _URC_NO_REASON;
    }
    static void throws(void) { unwind(stop); }
    int main(void) {
        for (int i = 0; i < 7; i++)
            if (!setjmp(back)) printf("%d ", through(i, throws));
        printf("%d\n", cleaned);
    }
"#;

#[test]
fn code_that_has_moved_is_unwound() {
    let fixture = Fixture::new();
    let unwinding = ["-fexceptions", "-Wl,--eh-frame-hdr"];
    let (_, finder) = CASE.split_once("//#File: find.c\n").expect("the case has it");
    fixture.source("main.c", &format!("{UNWINDS_MAIN}{finder}"));
    for more in [&[][..], &["-Wl,--emit-relocs"]] {
        let source = fixture.source("library.c", UNWINDS);
        fixture.compile("lib/liba.so", &source, &[&["-shared", "-fPIC"], &unwinding[..], more].concat());
        fixture.link(fixture.loader(), &[&[RUN_PATH, "-rdynamic"], &unwinding[..]].concat());
        fixture.build(&["--passes", "none"]);
        let program = fixture.path("prog");
        let expected = fixture.run_as(&program, &[], &[]).stdout;
        assert!(expected.contains(" through "), "{expected}");
        for passes in ["default", "default,direct-calls,huge-pages"] {
            fs::remove_file(fixture.image()).expect("the image");
            fixture.build(&["--passes", passes]);
            assert_eq!(inspect(&fixture)["programs"][0]["windows"].as_u64(), Some(4), "code is apart");
            for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
                fixture.uses_it(settings, expected.trim());
            }
        }
    }
}

/// A function that finds others by distances: a build tells that its code stays, and it works.
#[test]
fn code_with_other_distances_stays() {
    const BY_DISTANCE: &str = r#"
        extern const int table[] __attribute__((visibility("hidden")));
        __asm__(".section .rodata\n.balign 4\n.hidden table\ntable: .long say - table, other - table\n.text\n");
        __attribute__((used)) static const char *say(void) { return "VERSION"; }
        __attribute__((used)) static const char *other(void) { return "other"; }
        volatile int number;
        const char *b(void) { return ((const char *(*)(void))((const char *)table + table[number]))(); }
    "#;
    let fixture = Fixture::new();
    fixture.library("lib/libb.so", BY_DISTANCE, "b1");
    fixture.link(fixture.loader(), &[RUN_PATH]);
    let output = fixture.builder(&[]).stdout(std::process::Stdio::piped()).output().expect("morselctl");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("the code of 1 stays with read-only data, the branch at 0x"), "{said}");
    assert!(said.contains(": libb.so\n"), "{said}");
    for settings in [&[][..], &[("LD_MORSEL_ASLR", "process")]] {
        fixture.uses_it(settings, USUAL);
    }
}
