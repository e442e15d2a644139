//! What becomes of libraries that are found: which are the same, in which order they stand, and where libc comes in.

use super::*;

const HOSTED: [&str; 2] = ["/lib/ld-morsel", "/opt/lib/libc.so"];

#[test]
fn libraries_are_loaded_breadth_first() {
    let outcome = Setup::needing(&["/a", "/b"])
        .file("/a", needing(&["/c", "/b"]))
        .file("/b", needing(&["/d", "/a"]))
        .files(&["/c", "/d"])
        .run();
    assert_eq!(outcome.loaded(), ["/a", "/b", "/c", "/d"]);
    assert_eq!(outcome.dependencies(0), [1, 2]);
    assert_eq!(outcome.dependencies(1), [3, 2]);
    assert_eq!(outcome.dependencies(2), [4, 1]);
    assert_eq!(outcome.program[ObjectId(3)].needed_by, Some(ObjectId(1)));
}

#[test]
fn a_library_is_known_by_the_name_that_a_search_found() {
    let outcome = Setup::needing(&["libx.so", "/b"])
        .file("/b", needing(&["libx.so"]))
        .files(&["/usr/lib/libx.so"])
        .run();
    assert_eq!(outcome.loaded(), ["/usr/lib/libx.so", "/b"]);
    assert_eq!(outcome.short_name(1), Some(c"libx.so"));
    assert_eq!(outcome.short_name(2), None);
    let searches = outcome.opened().iter().filter(|path| **path == "/usr/lib/libx.so").count();
    assert_eq!(searches, 1, "the second time, the name is enough");
    assert_eq!(outcome.dependencies(2), [1]);
}

#[test]
fn a_library_that_was_given_with_a_slash_is_not_known_by_name() {
    // The other libx.so is another file, and so another library.
    let outcome = Setup::needing(&["/a/libx.so", "libx.so"]).files(&["/a/libx.so", "/lib/libx.so"]).run();
    assert_eq!(outcome.loaded(), ["/a/libx.so", "/lib/libx.so"]);
}

#[test]
fn one_file_under_two_names_is_one_library() {
    let twice = Entry::Library(50, Box::default());
    let outcome = Setup::needing(&["/a", "/b"]).entry("/a", twice.clone()).entry("/b", twice.clone()).run();
    assert_eq!(outcome.loaded(), ["/a"]);
    assert_eq!(outcome.dependencies(0), [1, 1]);
    assert_eq!(outcome.short_name(1), None);
}

#[test]
fn a_search_that_finds_a_known_file_gives_it_a_short_name() {
    let file = Entry::Library(50, Box::default());
    let outcome = Setup::needing(&["/a/liba.so", "libx.so", "liba.so"])
        .entry("/a/liba.so", file.clone())
        .entry("/lib/libx.so", file)
        .run();
    assert_eq!(outcome.loaded(), ["/a/liba.so"]);
    // As in musl, the name comes from the first path, and so does what is found by it.
    assert_eq!(outcome.short_name(1), Some(c"liba.so"));
    assert_eq!(outcome.dependencies(0), [1, 1, 1]);
    assert!(!outcome.opened().contains(&"/lib/liba.so"));
}

#[test]
fn a_short_name_is_kept() {
    let file = Entry::Library(50, Box::default());
    let outcome = Setup::needing(&["liba.so", "libx.so"])
        .entry("/lib/liba.so", file.clone())
        .entry("/lib/libx.so", file)
        .run();
    assert_eq!(outcome.short_name(1), Some(c"liba.so"));
}

#[test]
fn the_program_itself_is_never_found_as_a_library() {
    let program = Entry::Library(1, Box::default());
    let outcome = Setup::needing(&["/bin/program"]).entry("/bin/program", program).run();
    assert_eq!(outcome.loaded(), ["/bin/program"], "as in musl, it is loaded again");
}

#[test]
fn all_failures_are_reported() {
    let outcome = Setup::needing(&["libx.so", "", "/a"]).file("/a", needing(&["/missing"])).run();
    assert_eq!(
        outcome.errors(),
        [
            not_found("libx.so"),
            "Error loading shared library : Invalid argument (needed by /bin/program)".into(),
            "Error loading shared library /missing: No such file or directory (needed by /a)".into(),
        ]
    );
    assert_eq!(outcome.dependencies(0), [1]);
}

#[test]
fn a_needed_entry_outside_the_string_table_is_reported() {
    let mut program = needing(&["/a"]);
    program.dynamic.push([1, u64::MAX]);
    let outcome = Setup::starting(program).files(&["/a"]).run();
    assert_eq!(outcome.loaded(), ["/a"]);
    assert!(outcome.errors()[0].contains("corrupt DT_NEEDED"));
}

#[test]
fn preloaded_libraries_come_first_and_count_as_dependencies_of_the_program() {
    let outcome = Setup { preload: Some(c"/p1:/p2"), ..Setup::needing(&["/a", "/p2"]) }
        .file("/p1", needing(&["/deep"]))
        .files(&["/p2", "/a", "/deep"])
        .run();
    assert_eq!(outcome.loaded(), ["/p1", "/p2", "/a", "/deep"]);
    assert_eq!(outcome.dependencies(0), [1, 2, 3, 2]);
    assert_eq!(outcome.dependencies(1), [4]);
    assert_eq!(outcome.program[ObjectId(1)].needed_by, None);
}

#[test]
fn preloaded_libraries_are_separated_by_colons_and_white_space() {
    let preload = Some(c" /a:/b\t/c\n/d\x0b/e\x0c/f\r/g::");
    let outcome =
        Setup { preload, ..Setup::needing(&[]) }.files(&["/a", "/b", "/c", "/d", "/e", "/f", "/g"]).run();
    assert_eq!(outcome.loaded(), ["/a", "/b", "/c", "/d", "/e", "/f", "/g"]);
}

#[test]
fn preloaded_libraries_that_cannot_be_loaded_are_ignored() {
    let setup = Setup { preload: Some(c"/missing:libmissing.so:/text:/p"), ..Setup::needing(&["/a"]) };
    let outcome = setup.files(&["/p", "/a"]).entry("/text", Entry::Text("text")).run();
    assert_eq!(outcome.loaded(), ["/p", "/a"]);
    assert!(outcome.errors().is_empty());
}

#[test]
fn libc_stands_where_it_is_first_asked_for_behind_the_loader() {
    let outcome =
        Setup::needing(&["/a", "libc.so", "/b"]).file("/a", needing(&["libc.so"])).files(&["/b"]).run();
    assert_eq!(outcome.loaded(), ["/a", HOSTED[0], HOSTED[1], "/b"]);
    assert_eq!(outcome.dependencies(0), [1, 3, 4]);
    assert_eq!(outcome.dependencies(1), [3]);
    assert!(outcome.unused_host.is_none());
}

#[test]
fn a_preloaded_library_may_bring_libc_before_the_program_does() {
    let outcome =
        Setup { preload: Some(c"libc.so /p"), ..Setup::needing(&["/a"]) }.files(&["/p", "/a"]).run();
    assert_eq!(outcome.loaded(), [HOSTED[0], HOSTED[1], "/p", "/a"]);
    assert_eq!(outcome.dependencies(0), [2, 3, 4], "the loader is nobody's dependency");
}

#[test]
fn libc_is_not_sought() {
    let outcome = Setup::needing(&["libc.so", "libm.so.6", "libpthread.so.0"])
        .files(&["/lib/libc.so", "/lib/libm.so.6"])
        .run();
    assert_eq!(outcome.loaded(), HOSTED);
    assert!(outcome.opened().is_empty());
    assert_eq!(outcome.dependencies(0), [2, 2, 2]);
}

#[test]
fn libc_may_be_named_by_its_path_or_by_the_interpreters() {
    for name in ["/opt/lib/libc.so", "/lib/ld-musl-x86_64.so.1"] {
        let outcome = Setup::needing(&[name]).files(&[name]).run();
        assert_eq!(outcome.loaded(), HOSTED);
        assert!(outcome.opened().is_empty() && outcome.world.announced.is_empty());
    }
}

#[test]
fn libc_is_unused_if_nobody_asks_for_it() {
    let outcome = Setup::needing(&["/a"]).files(&["/a"]).run();
    assert_eq!(outcome.loaded(), ["/a"]);
    assert!(outcome.unused_host.is_some());
}

#[test]
fn libc_is_missing_if_there_is_none() {
    let outcome = Setup { has_libc: false, ..Setup::needing(&["libc.so"]) }.run();
    assert_eq!(outcome.errors(), [not_found("libc.so")]);
}

/// Another C library, as the loader recognises it.
fn foreign_libc() -> Library {
    Library::defining([SymbolSpec::function("__libc_start_main"), SymbolSpec::object("stdin")])
}

#[test]
fn another_libc_is_not_loaded_beside_ours() {
    let outcome = Setup::needing(&["/foreign/lib.so"]).file("/foreign/lib.so", foreign_libc()).run();
    assert_eq!(outcome.loaded(), HOSTED);
    assert_eq!(outcome.world.unloaded, 1);
    assert_eq!(outcome.dependencies(0), [2]);
}

#[test]
fn a_library_with_one_mark_of_a_libc_is_a_library() {
    for symbol in foreign_libc().symbols {
        let outcome = Setup::needing(&["/a"]).file("/a", Library::defining([symbol])).run();
        assert_eq!(outcome.loaded(), ["/a"]);
    }
}

#[test]
fn what_is_found_is_announced_once() {
    let outcome = Setup::needing(&["libx.so", "/a", "libc.so", "libc.so.6", "libm.so", "libx.so"])
        .files(&["/lib/libx.so", "/a"])
        .run();
    let announced: Vec<(&str, &str)> =
        outcome.world.announced.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
    let expected =
        [("libx.so", "/lib/libx.so"), ("/a", "/a"), ("libc.so", HOSTED[1]), ("libm.so", HOSTED[1])];
    assert_eq!(announced, expected);
}

#[test]
fn dependencies_that_run_in_circles_end() {
    let outcome =
        Setup::needing(&["/a"]).file("/a", needing(&["/b"])).file("/b", needing(&["/a", "/b"])).run();
    assert_eq!(outcome.loaded(), ["/a", "/b"]);
    assert_eq!(outcome.dependencies(2), [1, 2]);
}
