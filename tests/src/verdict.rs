//! Runs a case in two worlds and says whether what was seen is right and the same.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::case::{Case, Expected};
use crate::images;
use crate::normalise::Normaliser;
use crate::run::{Ending, Outcome, run};
use crate::scratch::Scratch;
use crate::toolchain::ensure_built;
use crate::worlds::{Loaders, Mode, Side, Version, World};

/// Runs `case` under both loaders and checks both against the case and against each other.
pub fn check(case: &Case, version: Version, mode: Mode, loaders: &Loaders, root: &Path) -> Result<()> {
    let mut problems = String::new();
    let mut outcomes = Vec::new();
    for side in [Side::Musl, Side::Morsel] {
        if side == Side::Morsel && loaders.is_self_check() && !case.suits_the_system_musl() {
            continue;
        }
        let world = World { side, version, mode };
        let (invocation, outcome) = observe(case, world, loaders, root)?;
        for problem in unmet(case, world, &outcome) {
            writeln!(problems, "{world}: {problem}")?;
        }
        outcomes.push((world, invocation, outcome));
    }
    if let ([(_, _, musl), (_, _, morsel)], None) = (&outcomes[..], &case.beyond_musl)
        && musl != morsel
    {
        writeln!(problems, "the two loaders differ")?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    for (world, invocation, outcome) in &outcomes {
        write!(problems, "\n--- {world}\n{invocation}{}", describe(outcome))?;
    }
    bail!("{}\n{problems}", case.path.display())
}

/// Runs a case in one world; returns how, in the shell's language, and the normalised outcome.
fn observe(case: &Case, world: World, loaders: &Loaders, root: &Path) -> Result<(String, Outcome)> {
    let libc = loaders.libc(world.version)?;
    let loader = loaders.for_copy(world.copy())?;
    let scratch = Scratch::new()?;
    let built = ensure_built(case, world.copy(), loaders, root)?;
    let dir = match case.sandbox {
        true => scratch.copy_of(&built)?,
        false => built,
    };
    let fill = |text: &str| {
        text.replace("{start}", &start(case, world))
            .replace("{ld}", &loader.display().to_string())
            .replace("{libc}", &libc.display().to_string())
            .replace("{dir}", &dir.display().to_string())
            .replace("{tmp}", &scratch.path().display().to_string())
    };

    let script: Vec<&str> = Case::in_world(&case.run, world).map(String::as_str).collect();
    let line = match script.is_empty() {
        false => fill(&script.join("\n")),
        true => {
            let arguments: Vec<&str> = Case::in_world(&case.arguments, world).map(String::as_str).collect();
            fill(&format!("exec {{start}} {}", arguments.join(" ")))
        }
    };
    let mut settings = vec![("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())];
    if world.side == Side::Morsel {
        settings.extend(loaders.settings(world.version)?);
        settings.extend(images::setting(case, world, loaders, &dir, scratch.path(), fill)?);
    }
    let mut exports = String::new();
    for (name, value) in Case::in_world(&case.environment, world) {
        // Set by the script and not around it: the shell itself must not load what is meant for the program.
        let value = fill(value);
        writeln!(exports, "export {name}={}", quote(&value))?;
    }
    let line = format!("{exports}{line}");

    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line]).current_dir(&dir).env_clear().envs(settings.iter().cloned());
    let outcome = run(&mut command, case.timeout)?;
    let normaliser = Normaliser::new(&dir, scratch.path(), &[loader, libc], &case.normalise)?;
    let outcome = Outcome {
        stdout: normaliser.apply(&outcome.stdout),
        stderr: normaliser.apply(&outcome.stderr),
        ..outcome
    };
    let settings: String = settings.iter().skip(1).map(|(name, value)| format!("{name}={value} ")).collect();
    let invocation = format!("(cd {} && {settings}sh -c {})\n", dir.display(), quote(&line));
    Ok((invocation, outcome))
}

/// Quotes a text for the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn start(case: &Case, world: World) -> String {
    match world.mode {
        Mode::Interp => "./prog".to_owned(),
        Mode::Direct => {
            let options: Vec<&str> =
                Case::in_world(&case.loader_options, world).map(String::as_str).collect();
            format!("{{ld}} {} ./prog", options.join(" "))
        }
    }
}

/// The expectations that the outcome does not meet.
fn unmet(case: &Case, world: World, outcome: &Outcome) -> Vec<String> {
    let mut problems = Vec::new();
    let expected: Vec<&Expected> = Case::in_world(&case.expectations, world).collect();
    if expected.iter().any(|e| matches!(e, Expected::Anything)) {
        return problems;
    }
    let mut ending = Ending::Exit(0);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (mut any_stdout, mut any_stderr) = (false, false);
    for expectation in expected {
        match expectation {
            Expected::Stdout(line) => stdout = stdout + line + "\n",
            Expected::Stderr(line) => stderr = stderr + line + "\n",
            Expected::StdoutMatches(pattern) => {
                any_stdout = true;
                if !pattern.is_match(&outcome.stdout) {
                    problems.push(format!("stdout does not match {pattern}"));
                }
            }
            Expected::StderrMatches(pattern) => {
                any_stderr = true;
                if !pattern.is_match(&outcome.stderr) {
                    problems.push(format!("stderr does not match {pattern}"));
                }
            }
            Expected::Ending(end) => ending = *end,
            Expected::Anything => {}
        }
    }
    if outcome.ending != ending {
        problems.push(format!("expected {ending}, got {}", outcome.ending));
    }
    if !any_stdout && outcome.stdout != stdout {
        problems.push(format!("expected on stdout:\n{}", indent(&stdout)));
    }
    if !any_stderr && outcome.stderr != stderr {
        problems.push(format!("expected on stderr:\n{}", indent(&stderr)));
    }
    problems
}

fn describe(outcome: &Outcome) -> String {
    format!("{}\nstdout:\n{}stderr:\n{}", outcome.ending, indent(&outcome.stdout), indent(&outcome.stderr))
}

fn indent(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        all.push_str("    | ");
        all.push_str(line);
        all.push('\n');
        all
    })
}
