//! Checks that the loader's morsels are really shared: programs whose library has some MiB of text run under it in a guest,
//! in every way that a library can come into a process, and say what is mapped. What they print otherwise must be what
//! they print under stock musl, and where morsels are not to be had they run all the same.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::disk::Root;
use super::guest::quote;
use super::text::{self, Link, Program, Text};
use crate::jobs::corpus::Tally;
use crate::proc::Outcome;
use crate::{paths, proc, ui};

/// Text of the libraries: four page tables in an ordinary one, whose tail cannot be shared. As much as `auto` wants at least.
const TEXT_KIB: u64 = 8 << 10;

/// Where the tool that holds morsels is in the guest.
const HOLD: &str = "/bin/morsel-hold";

/// Where the script that makes a container is in the guest.
const CONTAINER: &str = "/bin/container";

/// The module's parameter that allows morsels in secure-execution mode.
const SECURE_EXEC: &str = "/sys/module/morsel/parameters/secure_exec";

/// A run of a program.
struct Check {
    name: String,
    /// Its environment.
    settings: &'static str,
    command: String,
    /// The same under stock musl.
    stock: String,
    /// Whether /dev/morsel is there.
    device: bool,
    /// What must be shared.
    expect: Expect,
}

/// What must be shared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// The library's text, in each process that reports.
    Shared,
    /// The library's text in the first process, nothing in the second.
    First,
    /// Nothing.
    Plain,
}

/// All checks.
pub struct Sharing {
    checks: Vec<Check>,
}

impl Sharing {
    /// Builds the libraries and programs, and copies them.
    pub fn prepare(root: &mut Root, loader: &Path) -> Result<Self> {
        let mut checks = Vec::new();
        let hold = root.place(Path::new(HOLD));
        let source = paths::repo().join("kernel/tools/morsel-hold.c");
        proc::output(text::compiler().arg("-static").arg(source).arg("-o").arg(hold))?;
        let container = root.place(Path::new(CONTAINER));
        fs::write(&container, include_str!("container.sh"))
            .and_then(|()| fs::set_permissions(&container, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", container.display()))?;
        for link in [Link::Ordinary, Link::Script] {
            let text = Text::build(TEXT_KIB, link)?;
            let linked = text.program(Program::Sharing)?.display().to_string();
            let unlinked = text.program(Program::Unlinked)?.display().to_string();
            let library = text.library.display().to_string();
            root.copy(&text.dir)?;
            let mut check = |name: &str, settings, device, expect, command: &dyn Fn(&str) -> String| {
                checks.push(Check {
                    name: format!("sharing-{}-{name}", link.name()),
                    settings,
                    command: command(&loader.display().to_string()),
                    stock: command(paths::STOCK),
                    device,
                    expect,
                });
            };
            let morsel = "LD_MORSEL_MAP=morsel";
            let start = |by: &str| format!("{by} {linked}");
            check("no-device", "LD_MORSEL_LOG=debug", false, Expect::Plain, &start);
            check("start", "LD_MORSEL_MAP=morsel LD_MORSEL_STATS=-", true, Expect::Shared, &start);
            check("dlopen", morsel, true, Expect::Shared, &|by| format!("{by} {unlinked} {library}"));
            check("fork", morsel, true, Expect::Shared, &|by| format!("{by} {linked} fork"));
            check("dlopen-fork", morsel, true, Expect::Shared, &|by| {
                format!("{by} {unlinked} fork {library}")
            });
            check("pair", morsel, true, Expect::Shared, &|by| format!("{by} {linked} pair {by} {linked}"));
            check("dlopen-pair", morsel, true, Expect::Shared, &|by| {
                format!("{by} {unlinked} pair {by} {unlinked} {library}")
            });
            // What others have filled is taken, and what is only held.
            check("auto-pair", morsel, true, Expect::Shared, &|by| {
                format!("{by} {linked} auto {by} {linked}")
            });
            check("auto-dlopen-pair", morsel, true, Expect::Shared, &|by| {
                format!("{by} {unlinked} auto {by} {unlinked} {library}")
            });
            check("auto-held", morsel, true, Expect::Shared, &|by| {
                format!("{by} {linked} held {HOLD} {library} {by} {linked}")
            });
            check("file", "LD_MORSEL_MAP=file", true, Expect::Plain, &start);
            check("auto", "LD_MORSEL_MAP=auto", true, Expect::Plain, &start);
            check("traced", morsel, true, Expect::Plain, &|by| format!("{by} {linked} traced {by} {linked}"));
            check("dlopen-traced", morsel, true, Expect::Plain, &|by| {
                format!("{by} {linked} traced {by} {unlinked} {library}")
            });
            check("container", morsel, true, Expect::Shared, &|by| {
                format!("{CONTAINER} 'null morsel' {by} {linked}")
            });
            check("container-without", morsel, true, Expect::Plain, &|by| {
                format!("{CONTAINER} null {by} {linked}")
            });
            // Such a process would take what the other has filled.
            let secure = |by: &str| format!("{by} {linked} secure {by} {linked}");
            check("secure", morsel, true, Expect::First, &secure);
            check("secure-allowed", morsel, true, Expect::Shared, &|by| {
                format!("echo Y >{SECURE_EXEC} && {}; end=$?; echo N >{SECURE_EXEC}; exit $end", secure(by))
            });
        }
        Ok(Self { checks })
    }

    /// The part of the script that runs the programs without the device, or those with it.
    pub fn script(&self, device: bool) -> Result<String> {
        let mut script = String::new();
        for check in self.checks.iter().filter(|check| check.device == device) {
            for (mode, settings, command) in
                [("stock", "", &check.stock), ("direct", check.settings, &check.command)]
            {
                writeln!(script, "run {} {mode} / '{settings}' {}", check.name, quote(command))?;
            }
        }
        Ok(script)
    }

    /// Judges what the guest printed.
    pub fn judge(&self, outcome: impl Fn(&str, &str) -> Option<Outcome>, tally: &mut Tally) -> Result<()> {
        for check in &self.checks {
            let get = |mode| {
                outcome(&check.name, mode).with_context(|| format!("the guest did not run {}", check.name))
            };
            let judged = judge(check, &get("stock")?, &get("direct")?);
            tally.count(judged.is_ok());
            match judged {
                Ok(()) => println!("{} {}", ui::verdict(true), check.name),
                Err(why) => println!("{} {}: {why:#}", ui::verdict(false), check.name),
            }
        }
        Ok(())
    }
}

fn judge(check: &Check, stock: &Outcome, ours: &Outcome) -> Result<()> {
    let said = || format!("it printed:\n{}{}", ours.stdout, ours.stderr);
    ensure!(stock.end == "exit 0", "it fails under stock musl: {}\n{}", stock.end, stock.stderr);
    ensure!(
        ours.end == stock.end && ours.stdout == stock.stdout,
        "{}, not as under stock musl; {}",
        ours.end,
        said()
    );
    let shared = numbers(&ours.stderr, "shared ");
    ensure!(!shared.is_empty(), "it does not say what is shared; {}", said());
    let right = |(process, kib): (usize, &u64)| match check.expect {
        Expect::Shared => *kib >= TEXT_KIB,
        Expect::First if process == 0 => *kib >= TEXT_KIB,
        Expect::First | Expect::Plain => *kib == 0,
    };
    ensure!(shared.iter().enumerate().all(right), "shared KiB: {shared:?}; {}", said());
    if !check.device {
        // It is looked for once.
        let looked = ours.stderr.matches("no morsels: /dev/morsel").count();
        ensure!(looked == 1, "the device was opened {looked} times; {}", said());
    }
    if check.settings.contains("LD_MORSEL_STATS") {
        ensure!(ours.stderr.contains(r#""state":"shared""#), "LD_MORSEL_STATS does not say so; {}", said());
    }
    if let [first, both] = numbers(&ours.stderr, "tables ")[..] {
        // As many as the library has, and no more of them for two.
        ensure!(first >= TEXT_KIB / (2 << 10) && first == both, "page tables: {first} and then {both}");
    } else {
        ensure!(
            ![" pair ", " auto ", " secure "].iter().any(|job| check.command.contains(job)),
            "it does not count page tables; {}",
            said()
        );
    }
    Ok(())
}

/// The numbers in lines that begin so.
fn numbers(text: &str, begin: &str) -> Vec<u64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(begin));
    lines.flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn numbers_are_read_from_lines() {
        let text = "shared 6144\n{\"a\":1}\nshared 0\ntables 3 4\n";
        assert_eq!(numbers(text, "shared "), [6144, 0]);
        assert_eq!(numbers(text, "tables "), [3, 4]);
    }
}
