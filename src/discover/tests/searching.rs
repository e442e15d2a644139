//! Where libraries are sought, in which order, and when the search ends.

use super::*;

/// A program that needs `libx.so` and has this run-time path.
fn with_runpath(runpath: &str) -> Setup {
    Setup::starting(Library { runpath: Some(runpath.into()), ..needing(&["libx.so"]) })
}

#[test]
fn the_library_path_comes_before_the_run_time_path_and_that_before_the_system_path() {
    let start = || Setup { library_path: Some(c"/env1:/env2"), ..with_runpath("/run") };
    let all = ["/env2/libx.so", "/run/libx.so", "/usr/lib/libx.so"];
    assert_eq!(start().files(&all).run().loaded(), [all[0]]);
    assert_eq!(start().files(&all[1..]).run().loaded(), [all[1]]);
    assert_eq!(start().files(&all[2..]).run().loaded(), [all[2]]);
    let nothing = start().run();
    assert_eq!(nothing.opened()[..3], ["/env1/libx.so", "/env2/libx.so", "/run/libx.so"]);
    assert_eq!(nothing.errors(), [not_found("libx.so")]);
}

#[test]
fn without_a_path_file_the_system_path_is_the_usual_one() {
    let outcome = Setup::needing(&["libx.so"]).run();
    let path_files = ["/etc/ld-musl-x86_64.path", "/opt/etc/ld-musl-x86_64.path"];
    let candidates = ["/lib/libx.so", "/usr/local/lib/libx.so", "/usr/lib/libx.so"];
    assert_eq!(outcome.opened(), [&path_files[..], &candidates].concat());
}

#[test]
fn the_path_file_replaces_the_system_path() {
    let outcome = Setup::needing(&["libx.so", "liby.so"])
        .entry("/etc/ld-musl-x86_64.path", Entry::Text("/a\n/b:/c\n\0/d"))
        .files(&["/lib/libx.so", "/c/liby.so", "/d/libx.so"])
        .run();
    assert_eq!(outcome.loaded(), ["/c/liby.so"]);
    assert_eq!(outcome.errors(), [not_found("libx.so")]);
    let path_file_opened = outcome.opened().iter().filter(|path| path.ends_with(".path")).count();
    assert_eq!(path_file_opened, 1, "it is read once");
}

#[test]
fn an_unreadable_path_file_leaves_no_system_path() {
    for entry in [Entry::Refused(Errno::ACCESS), Entry::Unreadable(Errno::IO)] {
        let setup = Setup::needing(&["libx.so"]).files(&["/lib/libx.so"]);
        let outcome = setup.entry("/etc/ld-musl-x86_64.path", entry.clone()).run();
        assert!(outcome.loaded().is_empty());
        let cause = if matches!(entry, Entry::Refused(_)) { "Permission denied" } else { "I/O error" };
        assert!(outcome.errors()[0].contains(cause), "{:?}", outcome.errors());
    }
}

#[test]
fn an_empty_path_file_leaves_no_system_path() {
    let setup = Setup::needing(&["libx.so"]).files(&["/lib/libx.so"]);
    assert!(setup.entry("/etc/ld-musl-x86_64.path", Entry::Text("")).run().loaded().is_empty());
}

#[test]
fn run_time_paths_are_inherited_from_who_needs_the_library() {
    let middle = Library { runpath: Some(b"/middle".to_vec()), ..needing(&["libdeep.so"]) };
    let start = || with_runpath("/top").file("/top/libx.so", middle.clone());
    let deep = ["/middle/libdeep.so", "/top/libdeep.so"];
    assert_eq!(start().files(&deep).run().loaded(), ["/top/libx.so", deep[0]], "the nearest comes first");
    assert_eq!(start().files(&deep[1..]).run().loaded(), ["/top/libx.so", deep[1]]);
}

#[test]
fn siblings_do_not_inherit_run_time_paths() {
    let sibling = Library { runpath: Some(b"/hidden".to_vec()), ..Library::default() };
    let outcome =
        Setup::needing(&["/libs.so", "libx.so"]).file("/libs.so", sibling).files(&["/hidden/libx.so"]).run();
    assert_eq!(outcome.errors(), [not_found("libx.so")]);
}

#[test]
fn rpath_counts_only_without_runpath() {
    let both = Library { rpath: Some(b"/old".to_vec()), ..needing(&["libx.so"]) };
    let paths = ["/old/libx.so", "/new/libx.so"];
    assert_eq!(Setup::starting(both.clone()).files(&paths).run().loaded(), paths[..1]);
    let both = Library { runpath: Some(b"/new".to_vec()), ..both };
    assert_eq!(Setup::starting(both).files(&paths).run().loaded(), paths[1..]);
}

#[test]
fn preloaded_libraries_have_no_run_time_path_to_be_found_by() {
    let outcome = Setup { preload: Some(c"libp.so"), ..with_runpath("/run") }
        .files(&["/run/libp.so", "/run/libx.so"])
        .run();
    assert_eq!(outcome.loaded(), ["/run/libx.so"]);
}

#[test]
fn names_with_a_slash_are_not_sought() {
    let outcome = Setup { library_path: Some(c"/env"), ..Setup::needing(&["sub/libx.so"]) }
        .files(&["/env/sub/libx.so", "/env/libx.so"])
        .run();
    assert_eq!(outcome.opened(), ["sub/libx.so"]);
    assert_eq!(outcome.errors(), [not_found("sub/libx.so")]);
}

#[test]
fn names_longer_than_255_bytes_are_not_sought() {
    let (longest, too_long) = ("l".repeat(255), "l".repeat(256));
    let paths = [format!("/lib/{longest}"), format!("/lib/{too_long}")];
    let paths = [paths[0].as_str(), paths[1].as_str()];
    let outcome = Setup::needing(&[&longest, &too_long]).files(&paths).run();
    assert_eq!(outcome.loaded(), paths[..1]);
    assert!(!outcome.opened().contains(&paths[1]));
    assert_eq!(outcome.errors().len(), 1);
}

#[test]
fn a_long_name_with_a_slash_is_opened_as_it_is() {
    let path = format!("/{}", "l".repeat(256));
    assert_eq!(Setup::needing(&[&path]).files(&[&path]).run().loaded(), [path]);
}

#[test]
fn the_search_goes_on_after_some_errors() {
    for errno in [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::NAMETOOLONG] {
        let setup = Setup { library_path: Some(c"/env"), ..with_runpath("/run") };
        let outcome = setup.entry("/env/libx.so", Entry::Refused(errno)).files(&["/run/libx.so"]).run();
        assert_eq!(outcome.loaded(), ["/run/libx.so"], "{errno:?}");
    }
}

#[test]
fn the_search_stops_at_other_errors() {
    for errno in [Errno::LOOP, Errno::IO, Errno::MFILE] {
        let setup = Setup { library_path: Some(c"/env:/env2"), ..with_runpath("/run") };
        let outcome = setup
            .entry("/env/libx.so", Entry::Refused(errno))
            .files(&["/env2/libx.so", "/run/libx.so", "/lib/libx.so"])
            .run();
        assert_eq!(outcome.opened(), ["/env/libx.so"], "{errno:?}");
        assert!(outcome.errors()[0].contains(crate::sys::errno_text(errno)));
    }
}

#[test]
fn the_search_stops_at_a_file_that_is_no_library() {
    let setup = Setup { library_path: Some(c"/env"), ..with_runpath("/run") };
    let outcome = setup.entry("/env/libx.so", Entry::Text("text")).files(&["/run/libx.so"]).run();
    assert!(outcome.loaded().is_empty());
    assert!(outcome.errors()[0].contains("Exec format error"));
}

#[test]
fn candidates_longer_than_musls_buffer_are_skipped() {
    let long = format!("/{}", "d".repeat(600));
    let outcome =
        with_runpath(&format!("{long}:/run")).files(&[&format!("{long}/libx.so"), "/run/libx.so"]).run();
    assert_eq!(outcome.loaded(), ["/run/libx.so"]);
}

#[test]
fn the_origin_of_the_program_is_where_the_kernel_says() {
    let mut setup = with_runpath("$ORIGIN/../lib").files(&["/real/bin/../lib/libx.so"]);
    setup.world.executable = Ok("/real/bin/program");
    assert_eq!(setup.run().loaded(), ["/real/bin/../lib/libx.so"]);
}

#[test]
fn the_origin_of_a_library_is_where_it_was_found() {
    let library = Library { runpath: Some(b"${ORIGIN}/deps".to_vec()), ..needing(&["libx.so"]) };
    let outcome = Setup::needing(&["/plug/liba.so"])
        .file("/plug/liba.so", library)
        .files(&["/plug/deps/libx.so"])
        .run();
    assert_eq!(outcome.loaded(), ["/plug/liba.so", "/plug/deps/libx.so"]);
}

#[test]
fn a_program_started_by_name_has_its_name_for_origin() {
    let mut setup = with_runpath("$ORIGIN").files(&["/bin/libx.so", "/real/libx.so"]);
    setup.origin = Origin::File;
    setup.world.executable = Ok("/real/loader");
    assert_eq!(setup.run().loaded(), ["/bin/libx.so"]);
}

#[test]
fn privileged_programs_have_no_origin() {
    let setup = Setup { secure: true, ..with_runpath("$ORIGIN:/run") };
    let outcome = setup.files(&["/bin/libx.so", "/run/libx.so"]).run();
    assert_eq!(outcome.errors(), [not_found("libx.so")], "the whole path is unusable");
    let plain = Setup { secure: true, ..with_runpath("/run") };
    assert_eq!(plain.files(&["/run/libx.so"]).run().loaded(), ["/run/libx.so"]);
}

#[test]
fn libraries_of_privileged_programs_have_an_origin_if_it_is_absolute() {
    let library = Library { runpath: Some(b"$ORIGIN".to_vec()), ..needing(&["libx.so"]) };
    let run = |path: &str, secure| {
        let setup = Setup { secure, ..Setup::needing(&[path]) };
        let beside = path.replace("liba", "libx");
        setup.file(path, library.clone()).files(&[&beside]).run().loaded().len()
    };
    assert_eq!((run("/plug/liba.so", true), run("/plug/liba.so", false)), (2, 2));
    assert_eq!((run("plug/liba.so", true), run("plug/liba.so", false)), (1, 2));
}

#[test]
fn a_run_time_path_with_an_unknown_variable_is_unusable() {
    let outcome = with_runpath("/run:$LIB").files(&["/run/libx.so"]).run();
    assert_eq!(outcome.errors(), [not_found("libx.so")]);
}

#[test]
fn without_an_origin_the_search_goes_on_unless_the_system_is_in_trouble() {
    let run = |errno| {
        let mut setup = with_runpath("$ORIGIN").files(&["/lib/libx.so"]);
        setup.world.executable = Err(errno);
        setup.run().loaded().len()
    };
    for errno in [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS] {
        assert_eq!(run(errno), 1, "{errno:?}");
    }
    assert_eq!(run(Errno::NOMEM), 0);
}

#[test]
fn an_origin_that_does_not_fit_is_none() {
    let path: &'static str = String::leak(format!("/{}", "d".repeat(600)));
    let mut setup = with_runpath("$ORIGIN").files(&["/lib/libx.so"]);
    setup.world.executable = Ok(path);
    assert_eq!(setup.run().loaded(), ["/lib/libx.so"]);
}
