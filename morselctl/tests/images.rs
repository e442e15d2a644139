//! What scripts are told of images.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use common::{folder, images, morselctl, program, text};
use serde_json::Value;

/// Two programs with their images, of which the second is not valid any more.
fn two(name: &str) -> (PathBuf, PathBuf, PathBuf) {
    let dir = folder(name);
    let image = |name: &str| {
        program(&dir, name, 1);
        let path = dir.join(format!("{name}.image"));
        let output = morselctl(&[&"build", &dir.join(name), &"-o", &path]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        path
    };
    let (one, two) = (image("one"), image("two"));
    fs::remove_file(dir.join("lib/libtwo.so")).unwrap();
    (dir, one, two)
}

fn json(code: i32, arguments: &[&dyn AsRef<OsStr>]) -> Value {
    let output = morselctl(arguments);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn verify_gives_a_reason_for_each_image() {
    let (dir, one, two) = two("images-verify");
    let said = json(1, &[&"verify", &"--json", &one, &two, &dir.join("one")]);
    assert_eq!((&said[0]["valid"], &said[0]["reason"]), (&true.into(), &Value::Null));
    assert_eq!(said[0]["programs"][0], dir.join("one").display().to_string());
    let reason = said[1]["reason"].as_str().unwrap();
    assert!(said[1]["valid"] == false && reason.ends_with("libtwo.so has changed"), "{reason}");
    assert!(said[2]["reason"].as_str().unwrap().ends_with("is not an image"));
    json(0, &[&"verify", &"--json", &one]);
}

#[test]
fn list_and_inspect_tell_what_there_is() {
    let (dir, one, two) = two("images-list");
    let directory = dir.join("images");
    fs::create_dir(&directory).unwrap();
    fs::rename(&one, directory.join("a")).unwrap();
    let mut cut = fs::read(&two).unwrap();
    cut.truncate(5000);
    fs::write(directory.join("b"), cut).unwrap();
    fs::write(directory.join("c"), "something else").unwrap();
    assert_eq!(images(&directory).len(), 3);
    let listed = json(0, &[&"list", &"--json", &directory]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let served = &listed[0]["programs"][0];
    assert_eq!(served["program"], dir.join("one").display().to_string());
    assert_eq!((&served["libraries"], &listed[0]["error"]), (&2.into(), &Value::Null));
    assert!(listed[1]["programs"].is_null() && listed[1]["error"].as_str().unwrap().contains("cut off"));
    let inspected = json(0, &[&"inspect", &"--json", &directory.join("a")]);
    assert_eq!(inspected[0]["path"], listed[0]["path"]);
    assert_eq!(json(0, &[&"list", &"--json", &dir.join("nowhere")]), Value::Array(Vec::new()));
}
