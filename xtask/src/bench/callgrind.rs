//! Counts instructions by callgrind, until main and until the exit, and by function with its callers. valgrind runs the
//! loader like any code, in an address space that is always the same. It preloads one small library of its own, which
//! the loader has to load too.

use std::collections::HashMap;
use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::trace;
use super::workload::Start;

/// Instructions of a process, in user mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// Until main; None if it has none that could be found.
    pub main: Option<u64>,
    /// Until the exit.
    pub exit: u64,
}

/// Debian's valgrind for this tool, a static program.
const TOOL: &str = "/usr/libexec/valgrind/callgrind-amd64-linux";

/// Counts the instructions of a program.
pub fn instructions(start: &Start) -> Result<Instructions> {
    let Profile { main, rest } = run(start, &[])?;
    let main = main.as_deref().map(total).transpose()?;
    let rest = rest.iter().map(|text| total(text)).sum::<Result<u64>>()?;
    Ok(Instructions { main, exit: main.unwrap_or(0) + rest })
}

/// A start's instructions until main, by stack: lines of function names, outermost first, and a number, as the tools
/// for flame graphs read them.
pub fn stacks(start: &Start) -> Result<Vec<String>> {
    let Profile { main, mut rest } = run(start, &["--separate-callers=24"])?;
    // The last is of the whole run if there is no other.
    folded(&main.or_else(|| rest.pop()).context("callgrind has written no profile")?)
}

/// What callgrind has written.
struct Profile {
    /// Until main, if it was found.
    main: Option<String>,
    /// From there on; in two parts where the program's own main is found as well as the one that stands in for it.
    rest: Vec<String>,
}

fn run(start: &Start, options: &[&str]) -> Result<Profile> {
    let dir = crate::paths::cache()?.join(format!("bench/callgrind-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let file = dir.join("out");
    let mut valgrind = start.clone();
    // What `valgrind` comes down to. That one is a script, whose shell would preload what the program shall preload.
    valgrind.program = TOOL.into();
    valgrind.env.push(("VALGRIND_LAUNCHER".into(), "/usr/bin/valgrind".into()));
    valgrind.argv = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no"].map(Into::into).into();
    // Our programs' main, and the one that the mark's library calls in its place in others.
    let dumps = ["--dump-before=main", "--dump-before=with_mark"];
    valgrind.argv.extend(dumps.iter().chain(options).map(Into::into));
    valgrind.argv.push(format!("--callgrind-out-file={}", file.display()).into());
    valgrind.argv.push((&start.program).into());
    valgrind.argv.extend(start.argv.iter().skip(1).cloned());
    let log = dir.join("log");
    let mut command = trace::command(&valgrind)?;
    let status = command.stderr(fs::File::create(&log)?).stdout(Stdio::null()).status();
    let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
    let main = read("out.1");
    let rest: Vec<_> = ["out.2", "out"].into_iter().filter_map(read).collect();
    let said = read("log").unwrap_or_default();
    fs::remove_dir_all(&dir)?;
    let status = status.with_context(|| format!("cannot run {TOOL}"))?;
    if rest.is_empty() {
        bail!("valgrind on {}: {status}\n{}", start.program.display(), crate::proc::tail(&said, 5));
    }
    Ok(Profile { main, rest })
}

/// The total that callgrind writes at the end.
fn total(profile: &str) -> Result<u64> {
    let line = profile.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|text| text.trim().parse().ok()).context("callgrind's output has no total")
}

/// Self costs by stack. With separate callers, the name of a function is followed by those of its callers.
fn folded(profile: &str) -> Result<Vec<String>> {
    let mut costs: HashMap<&str, u64> = HashMap::new();
    let mut function = "";
    let mut call = false;
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if line.starts_with("calls=") {
            // The next line is what the callee took, with all that it called.
            call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
            && !std::mem::take(&mut call)
        {
            let cost = line.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok());
            *costs.entry(function).or_default() += cost.with_context(|| format!("strange cost {line:?}"))?;
        }
    }
    let mut lines: Vec<_> = costs
        .iter()
        .map(|(names, cost)| {
            let stack: Vec<_> = names.split('\'').map(readable).rev().collect();
            format!("{} {cost}", stack.join(";"))
        })
        .collect();
    lines.sort();
    Ok(lines)
}

/// A name as it is shown. The first instructions of a loader often belong to no symbol.
fn readable(name: &str) -> String {
    match name.strip_prefix("0x") {
        Some(_) => "entry".to_owned(),
        None => name.replace(';', ":").replace("ld_morsel::", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::{folded, total};

    #[test]
    fn self_costs_are_added_up_by_stack() {
        let profile = "events: Ir\nfn=inner'outer\n3 7\nfn=outer\n1 2\ncalls=1 3\n2 7\n+4 5\n\ntotals: 14\n";
        assert_eq!(folded(profile).unwrap(), ["outer 7", "outer;inner 7"]);
        assert_eq!(total(profile).unwrap(), 14);
    }
}
