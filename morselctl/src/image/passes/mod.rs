//! Passes over the program model that a build can run (`docs/passes-evaluation.md`). A pass is one file; it knows the model, and no other
//! pass. Which run, and with which value, is up to the user; the image records it.

mod concatenate;
mod direct_calls;
mod huge_pages;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::build::Built;
use super::layout::Arrangement;
use super::library::{InputFile, Library};

/// What a pass does. Each function is called when the build comes that far, in the order of [`KINDS`].
pub trait Pass {
    /// Looks at a file before anything is made of it, and may change it.
    ///
    /// # Errors
    /// The file must not be in an image: there will be none. A pass that cannot do its work on a file leaves it as it is, and says
    /// so in its report.
    fn read(&mut self, _file: &mut InputFile) -> Result<()> {
        Ok(())
    }

    /// Looks at the files of all libraries together, once it is known which there are. Unless a pass needs that, it looks at one
    /// after the other.
    ///
    /// # Errors
    /// As for [`Pass::read`].
    fn read_all(&mut self, files: &mut [InputFile]) -> Result<()> {
        files.iter_mut().try_for_each(|file| {
            let name = file.name.to_string_lossy().into_owned();
            self.read(file).context(name)
        })
    }

    /// Says how libraries shall lie.
    ///
    /// # Errors
    /// There is no way to do so.
    fn arrange(&mut self, _libraries: &[Library], _arrangement: &mut Arrangement) -> Result<()> {
        Ok(())
    }

    /// Changes what has been placed, bound and relocated.
    ///
    /// # Errors
    /// There will be no image.
    fn change(&mut self, _built: &mut Built) -> Result<()> {
        Ok(())
    }

    /// What it has done, and what it has not and why, a line each.
    fn report(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A kind of pass.
pub struct Kind {
    /// What users call it.
    pub name: &'static str,
    /// What it does, and what its value means.
    pub what: &'static str,
    /// Passes without which it makes no sense.
    needs: &'static [&'static str],
    /// Passes that do not go with it.
    conflicts: &'static [&'static str],
    /// It runs unless the user says otherwise.
    usual: bool,
    make: fn(Option<&str>) -> Result<Box<dyn Pass>>,
}

/// All passes, in the order in which they run.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "concatenate",
        what: "move libraries' parts apart, so that those of a kind lie together; =random: in an order of its own",
        needs: &[],
        conflicts: &[],
        usual: true,
        make: concatenate::make,
    },
    Kind {
        name: "huge-pages",
        what: "lay code and sealed data out so that the kernel can use pages of 2 MiB",
        needs: &[],
        conflicts: &[],
        usual: true,
        make: huge_pages::make,
    },
    Kind {
        name: "direct-calls",
        what: "calls from library to library lead straight to their targets, not through slots",
        needs: &[],
        conflicts: &[],
        usual: false,
        make: direct_calls::make,
    },
];

/// The passes as users are told of them.
pub fn help() -> String {
    let line = |kind: &Kind| {
        let usual = if kind.usual { " (by default)" } else { "" };
        format!("  {:14} {}{usual}\n", kind.name, kind.what)
    };
    format!("Passes:\n{}", KINDS.iter().map(line).collect::<String>())
}

/// The passes that the user has chosen: `NAME` or `NAME=VALUE`, in the order of [`KINDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice(Vec<(&'static str, Option<String>)>);

impl Default for Choice {
    fn default() -> Self {
        Self(KINDS.iter().filter(|kind| kind.usual).map(|kind| (kind.name, None)).collect())
    }
}

impl FromStr for Choice {
    type Err = anyhow::Error;

    /// A list with commas; `none`; `default` stands for those that run if nothing is said.
    fn from_str(text: &str) -> Result<Self> {
        let mut chosen: Vec<(&'static str, Option<String>)> = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty() && *word != "none") {
            if word == "default" {
                chosen.extend(Self::default().0);
                continue;
            }
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
                let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
                bail!("there is no pass `{name}`; those that there are: {}", known.join(", "));
            };
            (kind.make)(value)?;
            chosen.retain(|(known, _)| *known != kind.name);
            chosen.push((kind.name, value.map(str::to_owned)));
        }
        let has = |name: &str| chosen.iter().any(|(known, _)| *known == name);
        for kind in KINDS.iter().filter(|kind| has(kind.name)) {
            if let Some(missing) = kind.needs.iter().find(|name| !has(name)) {
                bail!("the pass `{}` needs `{missing}`", kind.name);
            }
            if let Some(other) = kind.conflicts.iter().find(|name| has(name)) {
                bail!("the pass `{}` does not go with `{other}`", kind.name);
            }
        }
        chosen.sort_by_key(|(name, _)| KINDS.iter().position(|kind| kind.name == *name));
        Ok(Self(chosen))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (count, (name, value)) in self.0.iter().enumerate() {
            let comma = if count > 0 { "," } else { "" };
            let (equals, value) = value.as_ref().map_or(("", ""), |value| ("=", value));
            write!(f, "{comma}{name}{equals}{value}")?;
        }
        Ok(())
    }
}

/// The passes of one build; none by default.
#[derive(Default)]
pub struct Passes(Vec<(&'static str, Box<dyn Pass>)>);

impl Passes {
    /// Those that were chosen.
    ///
    /// # Errors
    /// A value makes no sense.
    pub fn new(choice: &Choice) -> Result<Self> {
        let kinds = KINDS.iter().filter_map(|kind| {
            let (_, value) = choice.0.iter().find(|(name, _)| *name == kind.name)?;
            Some((kind.make)(value.as_deref()).map(|pass| (kind.name, pass)))
        });
        Ok(Self(kinds.collect::<Result<_>>()?))
    }

    /// [`Pass::read_all`] of all.
    pub fn read_all(&mut self, files: &mut [InputFile]) -> Result<()> {
        self.0.iter_mut().try_for_each(|(_, pass)| pass.read_all(files))
    }

    /// [`Pass::arrange`] of all.
    pub fn arrange(&mut self, libraries: &[Library]) -> Result<Arrangement> {
        let mut arrangement = Arrangement::default();
        self.0.iter_mut().try_for_each(|(_, pass)| pass.arrange(libraries, &mut arrangement))?;
        Ok(arrangement)
    }

    /// [`Pass::change`] of all.
    pub fn change(&mut self, built: &mut Built) -> Result<()> {
        self.0.iter_mut().try_for_each(|(_, pass)| pass.change(built))
    }

    /// What all have to report.
    pub fn report(&self) -> Vec<String> {
        let lines = self
            .0
            .iter()
            .flat_map(|(name, pass)| pass.report().into_iter().map(move |line| format!("{name}: {line}")));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_written_as_it_is_read() {
        for text in ["none", "huge-pages", "concatenate,huge-pages,direct-calls", "concatenate=random"] {
            assert_eq!(text.parse::<Choice>().expect(text).to_string(), text);
        }
        assert_eq!("default".parse::<Choice>().expect("default"), Choice::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["huge", "huge-pages=1", "concatenate=1", "direct-calls=2"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }
}
