//! The manual pages, `--help` and the completion scripts cover all commands, and formatters have nothing to complain of.

mod common;

use std::fs;
use std::process::Command;

use common::{folder, morselctl, run, text};

/// The subcommands, as `--help` lists them.
fn commands() -> Vec<String> {
    let help = text(&morselctl(&[&"-h"]).stdout);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_has_a_page_that_formatters_accept() {
    let dir = folder("manual");
    assert!(morselctl(&[&"man", &dir]).status.success());
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    let pages =
        commands.iter().map(|command| format!("morselctl-{command}.1")).chain(["morselctl.1".to_owned()]);
    let pages: Vec<String> = pages.collect();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), pages.len());
    for page in pages {
        let mut groff = Command::new("groff");
        // Without escapes for bold letters.
        groff.args(["-ww", "-man", "-Tascii", "-P-c", "-P-b", "-P-u"]).arg(dir.join(&page));
        let output = groff.output().unwrap();
        assert_eq!(text(&output.stderr), "", "{page}");
        let plain = text(&output.stdout);
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(plain.lines().any(|line| line == heading), "{page}: no {heading}\n{plain}");
        }
    }
}

#[test]
fn help_tells_what_the_pages_tell() {
    for command in commands() {
        let help = text(&morselctl(&[&command, &"--help"]).stdout);
        assert!(help.contains("Exit status:") && help.contains(&format!("  morselctl {command}")), "{help}");
    }
}

#[test]
fn completion_scripts_know_all_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&morselctl(&[&"completions", &shell]).stdout);
        for known in commands().iter().map(String::as_str).chain(["library-path", "system", "socket"]) {
            assert!(script.contains(known), "{shell}: {known}");
        }
        if shell == "bash" {
            let file = folder("completions").join(shell);
            fs::write(&file, script).unwrap();
            run(Command::new(shell).arg("-n").arg(file));
        }
    }
}
