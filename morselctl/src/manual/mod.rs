//! What is derived from the command line's description: help, completion scripts and manual pages. What clap does not know of a
//! subcommand (what it does in full, its exit codes, files, environment, examples) is in `pages.toml`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde::Deserialize;

use crate::cli::Args;

/// When the pages were last changed.
const DATE: &str = "2026-11-21";
const NAME: &str = "morselctl";
const SOURCE: &str = concat!("ld-morsel ", env!("CARGO_PKG_VERSION"));

/// What is told of a command beside its options.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Page {
    /// Paragraphs, with empty lines between them.
    description: String,
    /// Commands, and what they do.
    examples: Vec<[String; 2]>,
    /// Exit codes, and what they mean.
    exit: Vec<[String; 2]>,
    #[serde(default)]
    files: Vec<[String; 2]>,
    #[serde(default)]
    environment: Vec<[String; 2]>,
    /// Other subcommands, or pages with their section.
    see_also: Vec<String>,
}

impl Page {
    /// The lists of the page, by their headings.
    fn sections(&self) -> impl Iterator<Item = (&'static str, &[[String; 2]])> {
        let sections = [
            ("EXIT STATUS", &self.exit),
            ("ENVIRONMENT", &self.environment),
            ("FILES", &self.files),
            ("EXAMPLES", &self.examples),
        ];
        sections
            .into_iter()
            .map(|(heading, entries)| (heading, &entries[..]))
            .filter(|(_, entries)| !entries.is_empty())
    }

    /// The same for the end of `--help`.
    fn help(&self) -> String {
        let sections = self.sections().map(|(heading, entries)| {
            let entries = entries.iter().map(|[term, meaning]| format!("  {term}\n          {meaning}\n"));
            format!(
                "{}:\n{}",
                heading[..1].to_owned() + &heading[1..].to_lowercase(),
                entries.collect::<String>()
            )
        });
        sections.collect::<Vec<_>>().join("\n")
    }

    /// The same for a manual page.
    fn render(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut roff = Roff::new();
        for (heading, entries) in self.sections() {
            roff.control("SH", [heading]);
            for [term, meaning] in entries {
                roff.control("TP", []).text([bold(term)]).text([roman(meaning)]);
            }
        }
        let others = self.see_also.iter().map(|other| match other.contains('(') {
            true => other.clone(),
            false => format!("{NAME}-{other}(1)"),
        });
        roff.control("SH", ["SEE ALSO"]).text([roman(others.collect::<Vec<_>>().join(", "))]);
        roff.to_writer(to)
    }
}

/// By subcommand; the tool itself has its own name.
fn pages() -> BTreeMap<String, Page> {
    toml::from_str(include_str!("pages.toml")).expect("a test reads it")
}

/// The command line with all that there is to say about it.
pub fn command() -> Command {
    let mut command = Args::command();
    for (name, page) in pages() {
        // clap breaks lines itself, where it knows the width.
        let paragraphs: Vec<String> =
            page.description.trim().split("\n\n").map(|text| text.replace('\n', " ")).collect();
        let describe =
            |command: Command| command.long_about(paragraphs.join("\n\n")).after_long_help(page.help());
        command = if name == NAME { describe(command) } else { command.mut_subcommand(name, describe) };
    }
    command
}

/// Writes a completion script to standard output.
pub fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut io::stdout());
}

/// Writes a manual page for the tool, and one for each subcommand, into `dir`.
pub fn write(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut command = command().disable_help_subcommand(true);
    command.build();
    let pages = pages();
    for subcommand in command.get_subcommands().chain([&command]) {
        let page = pages.get(subcommand.get_name()).context("a command without a page")?;
        let man = Man::new(subcommand.clone()).date(DATE).manual("ld-morsel").source(SOURCE);
        let path = dir.join(man.get_filename());
        let render = || -> io::Result<()> {
            let mut text = Vec::new();
            man.render_title(&mut text)?;
            man.render_name_section(&mut text)?;
            man.render_synopsis_section(&mut text)?;
            man.render_description_section(&mut text)?;
            man.render_options_section(&mut text)?;
            if subcommand.has_subcommands() {
                man.render_subcommands_section(&mut text)?;
            }
            page.render(&mut text)?;
            File::create(&path)?.write_all(&text)
        };
        render().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_page_a_command() {
        let command = Args::command();
        let commands = command.get_subcommands().map(Command::get_name).chain([NAME]);
        let mut commands: Vec<&str> = commands.collect();
        commands.sort_unstable();
        let pages = pages();
        assert_eq!(pages.keys().map(String::as_str).collect::<Vec<_>>(), commands);
        for (name, page) in &pages {
            assert!(!page.examples.is_empty() && page.exit.len() > 1, "{name}");
            let known = |other: &String| other.ends_with(')') || pages.contains_key(other);
            assert!(page.see_also.iter().all(known), "{name}");
        }
        super::command().debug_assert();
    }
}
