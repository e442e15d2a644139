//! Reads the `//#` lines of a case and cuts the case into its source files.
//!
//! The language is described below, in the text of `README.md`. Everything that is not understood is an
//! error, so that a misspelt expectation cannot silently expect nothing.
#![doc = include_str!("../README.md")]

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use regex::Regex;

use crate::case::{BuildStep, Case, Expectation, Expected, Qualified, Source};
use crate::normalise::Extra;
use crate::run::Ending;
use crate::worlds::{Mode, Version};

/// One `//#Name[qualifiers]: value` line.
struct Directive<'a> {
    name: &'a str,
    qualifiers: Vec<&'a str>,
    value: &'a str,
}

const QUALIFIERS: [&str; 6] = ["interp", "direct", "musl", "morsel", "1.2.3", "1.2.5"];

impl<'a> Directive<'a> {
    fn parse(line: &'a str) -> Result<Directive<'a>> {
        let (head, value) = line.split_once(':').context("a directive needs a colon")?;
        let (name, qualifiers) = match head.split_once('[') {
            Some((name, rest)) => {
                let list = rest.strip_suffix(']').context("`[` without `]` before the colon")?;
                (name, list.split(',').map(str::trim).collect())
            }
            None => (head, Vec::new()),
        };
        for qualifier in &qualifiers {
            ensure!(QUALIFIERS.contains(qualifier), "unknown qualifier `{qualifier}`");
        }
        // Exactly one space separates the value; further ones belong to it.
        Ok(Directive { name, qualifiers, value: value.strip_prefix(' ').unwrap_or(value) })
    }

    fn qualified<T>(&self, value: T) -> Qualified<T> {
        Qualified { qualifiers: self.qualifiers.iter().map(ToString::to_string).collect(), value }
    }
}

/// Reads the case in `text`; `path` is the file that it comes from and `name` the case's name.
pub fn parse(name: &str, path: &Path, text: &str) -> Result<Case> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("c");
    let mut case = Case::new(name, path);
    let mut source = Source { name: format!("main.{extension}"), first_line: 1, text: String::new() };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let Some(rest) = line.strip_prefix("//#") else {
            source.text.push_str(line);
            source.text.push('\n');
            continue;
        };
        let directive =
            Directive::parse(rest).with_context(|| format!("{}:{number}: {line}", path.display()))?;
        if directive.name == "File" {
            let file = directive.value.trim().to_owned();
            let next = Source { name: file, first_line: number + 1, text: String::new() };
            case.sources.push(std::mem::replace(&mut source, next));
            continue;
        }
        // Keeps the line numbers of the compiler's messages right.
        source.text.push('\n');
        apply(&mut case, &directive).with_context(|| format!("{}:{number}: {line}", path.display()))?;
    }
    case.sources.push(source);
    finish(case).with_context(|| path.display().to_string())
}

fn apply(case: &mut Case, directive: &Directive) -> Result<()> {
    let value = directive.value.trim();
    let run_time = matches!(directive.name, "Args" | "Env" | "Run" | "Ld-options")
        || directive.name.starts_with("Expect")
        || directive.name == "Unchecked";
    ensure!(
        run_time || directive.qualifiers.is_empty(),
        "`{}` applies everywhere and takes no qualifiers",
        directive.name
    );
    match directive.name {
        "Spec" => {
            for point in value.split(',').map(str::trim) {
                case.spec.push(point.to_owned());
            }
        }
        "Lib" => {
            let (output, arguments) = value.split_once(" = ").context("expected `lib.so = sources`")?;
            case.steps.push(BuildStep::Lib { output: output.into(), arguments: arguments.into() });
        }
        "Prog" if value == "none" => case.has_program = true,
        "Prog" => {
            let (output, arguments) = match value.split_once(" = ") {
                Some((output, arguments)) => (output.to_owned(), arguments.to_owned()),
                None => ("prog".to_owned(), format!("{} {value}", case.main_source())),
            };
            case.has_program = true;
            case.steps.push(BuildStep::Prog { output, arguments });
        }
        "Rpath" => case.rpath = (value != "none").then(|| value.to_owned()),
        "Make" => case.steps.push(BuildStep::Make { command: value.into() }),
        "Patch" => {
            let (file, edit) = value.split_once(' ').context("expected `file edit`")?;
            case.steps.push(BuildStep::Patch { file: file.into(), edit: edit.trim().parse()? });
        }
        "Args" => case.arguments.push(directive.qualified(value.to_owned())),
        "Env" => {
            let (name, value) = value.split_once('=').context("expected `NAME=value`")?;
            case.environment.push(directive.qualified((name.to_owned(), value.to_owned())));
        }
        "Run" => case.run.push(directive.qualified(value.to_owned())),
        "Ld-options" => case.loader_options.push(directive.qualified(value.to_owned())),
        "Only" => {
            case.modes = Mode::ALL.into_iter().filter(|mode| mode.as_str() == value).collect();
            ensure!(!case.modes.is_empty(), "expected `interp` or `direct`");
        }
        "Musl" => {
            case.versions = Version::ALL.into_iter().filter(|version| version.as_str() == value).collect();
            ensure!(!case.versions.is_empty(), "expected `1.2.3` or `1.2.5`");
        }
        "Beyond-musl" => {
            ensure!(!value.is_empty(), "say in which way the loader does more than musl");
            case.beyond_musl = Some(value.to_owned());
        }
        "Without-image" => {
            ensure!(!value.is_empty(), "say what cannot be seen with an image");
            case.without_image = Some(value.to_owned());
        }
        "Sandbox" => {
            ensure!(value == "yes", "expected `yes`");
            case.sandbox = true;
        }
        "Timeout" => case.timeout = Duration::from_secs(value.parse().context("expected seconds")?),
        "Normalise" => {
            for name in value.split(',') {
                case.normalise.push(Extra::parse(name.trim())?);
            }
        }
        "Unchecked" => {
            ensure!(!value.is_empty(), "say why the outcome is not checked");
            case.expectations.push(directive.qualified(Expected::Anything));
        }
        name if name.starts_with("Expect") => {
            let expected = expectation(name, directive.value)?;
            case.expectations.push(directive.qualified(expected));
        }
        other => bail!("unknown directive `{other}`"),
    }
    Ok(())
}

fn expectation(name: &str, value: &str) -> Result<Expected> {
    let pattern = || Regex::new(value.trim()).context("bad regular expression");
    Ok(match name {
        "Expect" => Expected::Stdout(value.replace("\\t", "\t")),
        "Expect-match" => Expected::StdoutMatches(pattern()?),
        "Expect-err" => Expected::Stderr(value.replace("\\t", "\t")),
        "Expect-err-match" => Expected::StderrMatches(pattern()?),
        "Expect-exit" => Expected::Ending(Ending::Exit(value.trim().parse().context("expected a number")?)),
        "Expect-signal" => {
            let signal = Signal::from_str(value.trim()).context("expected a name like SIGSEGV")?;
            Expected::Ending(Ending::Signal(signal as i32))
        }
        other => bail!("unknown directive `{other}`"),
    })
}

/// Checks what can only be seen when the whole case has been read.
fn finish(mut case: Case) -> Result<Case> {
    ensure!(!case.spec.is_empty(), "`//#Spec:` is missing: name the point(s), or `beyond`");
    ensure!(
        case.expectations.iter().any(Expectation::asserts_something),
        "the case expects nothing: it would pass whatever happens"
    );
    if case.beyond_musl.is_none() {
        let sided = case
            .expectations
            .iter()
            .any(|e| e.qualifiers.iter().any(|q| q == "musl" || q == "morsel") || e.is_anything());
        ensure!(!sided, "expectations differ between the loaders, but there is no `//#Beyond-musl:`");
    }
    if !case.has_program {
        let arguments = case.main_source();
        case.steps.push(BuildStep::Prog { output: "prog".into(), arguments });
    }
    Ok(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Case> {
        parse("t", Path::new("t.c"), text)
    }

    #[test]
    fn files_are_cut_out() -> Result<()> {
        let case = parse_text("//#Spec: 28\n//#Expect: x\nint a;\n//#File: foo.c\nint b;\n")?;
        assert_eq!(case.sources.len(), 2);
        assert_eq!(case.sources[0].text, "\n\nint a;\n");
        assert_eq!((case.sources[1].name.as_str(), case.sources[1].first_line), ("foo.c", 5));
        Ok(())
    }

    #[test]
    fn mistakes_are_errors() {
        for text in [
            "//#Spec: 28\n//#Expct: x\n",
            "//#Spec: 28\n//#Expect[nobody]: x\n",
            "//#Spec: 28\n",
            "//#Expect: x\n",
            "//#Spec: 28\n//#Expect[musl]: x\n",
            "//#Spec[direct]: 28\n//#Expect: x\n",
        ] {
            assert!(parse_text(text).is_err(), "{text}");
        }
    }
}
