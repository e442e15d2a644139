//! Passes over the program model that a build can run (`docs/passes.md`). A pass is one file; it knows the model, and no other
//! pass. Which run, and with which value, is up to the user; the image records it.

mod concatenate;
mod direct_calls;
mod huge_pages;
mod order;
mod prefetch;
mod verify;

use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::build::Built;
use super::layout::Arrangement;
use super::library::{InputFile, Library};

/// What a pass does. Each function is called when the build comes that far, in the order of [`KINDS`].
pub trait Pass {
    /// Reads what its value names. A choice can be made where that is not there.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense.
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    /// Looks at a file that is not to be in the image: a program or a loader.
    ///
    /// # Errors
    /// There must be no image for it.
    fn look_at(&mut self, _path: &CStr, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Looks at a file before anything is made of it, and may change it.
    ///
    /// # Errors
    /// The file must not be in an image: there will be none. A pass that cannot do its work on a file leaves it as it is, and says
    /// so in its report.
    fn read(&mut self, _file: &mut InputFile) -> Result<()> {
        Ok(())
    }

    /// Looks at the files of all libraries together, once it is known which there are, and may put them in another order: so their
    /// libraries shall lie. Unless a pass needs that, it looks at one after the other.
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
    /// Passes without which it makes no sense, and why.
    needs: &'static [(&'static str, &'static str)],
    /// Passes that do not go with it, and why.
    conflicts: &'static [(&'static str, &'static str)],
    /// It runs unless the user says otherwise.
    usual: bool,
    make: fn(Option<&str>) -> Result<Box<dyn Pass>>,
}

/// All passes, in the order in which they run: first who only looks, then who says how libraries shall lie, then who changes them.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "verify",
        what: "refuse every file that is not in LIST, the output of sha256sum: verify=LIST",
        needs: &[],
        conflicts: &[],
        usual: false,
        make: verify::make,
    },
    Kind {
        name: "order",
        what: "libraries lie in the order of a list, of a recording (what is used most comes first), or in one that \
               is drawn for each build: order=FILE, order=random",
        needs: &[],
        conflicts: &[],
        usual: false,
        make: order::make,
    },
    Kind {
        name: "concatenate",
        what: "move libraries' parts apart, so that those of a kind lie together",
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
    Kind {
        name: "prefetch",
        what: "map at once what `morselctl record` saw starts touch, where that pays: prefetch=FILE, else what \
               was recorded in the usual place",
        needs: &[],
        conflicts: &[],
        usual: true,
        make: prefetch::make,
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

    /// A list with commas; `none`; `default` stands for those that run if nothing is said, unless they have a value in the list.
    fn from_str(text: &str) -> Result<Self> {
        let mut chosen: Vec<(&'static str, Option<String>)> = Vec::new();
        let words: Vec<&str> = text.split(',').filter(|word| !word.is_empty() && *word != "none").collect();
        for word in words.iter().filter(|word| **word != "default") {
            let (name, value) =
                word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
            let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
                let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
                bail!("there is no pass `{name}`; those that there are: {}", known.join(", "));
            };
            (kind.make)(value)?;
            if chosen.iter().any(|(known, _)| *known == name) {
                bail!("the pass `{name}` is there twice");
            }
            chosen.push((kind.name, value.map(str::to_owned)));
        }
        if words.contains(&"default") {
            let usual = Self::default().0;
            let missing = usual.into_iter().filter(|(name, _)| chosen.iter().all(|(known, _)| known != name));
            let missing: Vec<_> = missing.collect();
            chosen.extend(missing);
        }
        check_together(KINDS, |name| chosen.iter().any(|(known, _)| *known == name))?;
        chosen.sort_by_key(|(name, _)| KINDS.iter().position(|kind| kind.name == *name));
        Ok(Self(chosen))
    }
}

/// Whether the passes that have been chosen go together.
fn check_together(kinds: &[Kind], chosen: impl Fn(&str) -> bool) -> Result<()> {
    for Kind { name, needs, conflicts, .. } in kinds.iter().filter(|kind| chosen(kind.name)) {
        if let Some((missing, why)) = needs.iter().find(|(needed, _)| !chosen(needed)) {
            bail!("the pass `{name}` needs `{missing}`: {why}");
        }
        if let Some((other, why)) = conflicts.iter().find(|(other, _)| chosen(other)) {
            bail!("the pass `{name}` does not go with `{other}`: {why}");
        }
    }
    Ok(())
}

impl Choice {
    /// The same with one more pass, or with another value for it.
    pub fn with(&self, name: &'static str, value: String) -> Self {
        let mut chosen = self.without(name).0;
        chosen.push((name, Some(value)));
        chosen.sort_by_key(|(name, _)| KINDS.iter().position(|kind| kind.name == *name));
        Self(chosen)
    }

    /// The same without a pass.
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| *known != name).cloned().collect())
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

/// The passes of one build.
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
        let mut passes: Vec<(&'static str, Box<dyn Pass>)> = kinds.collect::<Result<_>>()?;
        passes.iter_mut().try_for_each(|(_, pass)| pass.begin())?;
        Ok(Self(passes))
    }

    /// [`Pass::look_at`] of all.
    pub fn look_at(&mut self, path: &CStr, bytes: &[u8]) -> Result<()> {
        self.0.iter_mut().try_for_each(|(_, pass)| pass.look_at(path, bytes))
    }

    /// [`Pass::read_all`] of all.
    pub fn read_all(&mut self, files: &mut [InputFile]) -> Result<()> {
        self.0.iter_mut().try_for_each(|(_, pass)| pass.read_all(files))
    }

    /// [`Pass::arrange`] of all, for libraries that would lie in this order.
    pub fn arrange(&mut self, libraries: &[Library], order: Vec<usize>) -> Result<Arrangement> {
        let mut arrangement = Arrangement { order, huge: false };
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
        for text in [
            "none",
            "huge-pages",
            "concatenate,huge-pages,direct-calls",
            "verify=/a/list,order=random,prefetch=/a/b",
            "order=/a/list,prefetch",
        ] {
            assert_eq!(text.parse::<Choice>().expect(text).to_string(), text);
        }
        assert_eq!("default".parse::<Choice>().expect("default"), Choice::default());
    }

    #[test]
    fn what_is_usual_leaves_values_alone() {
        for text in ["default,prefetch=/a/b", "prefetch=/a/b,default", "default,default,prefetch=/a/b"] {
            assert_eq!(
                text.parse::<Choice>().expect(text).to_string(),
                "concatenate,huge-pages,prefetch=/a/b"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, why) in [
            ("huge", "there is no pass `huge`; those that there are: verify, "),
            ("huge-pages=1", "takes no value"),
            ("concatenate=random", "takes no value"),
            ("direct-calls=2", "takes no value"),
            ("verify", "needs the absolute path of a list: verify=LIST"),
            ("verify=list", "needs the absolute path of a list: verify=LIST"),
            ("order", "needs `random` or the absolute path of a list"),
            ("order=list", "needs `random` or the absolute path of a list"),
            ("prefetch=file", "needs the absolute path of a recording"),
            ("order=random,order=/a/list", "the pass `order` is there twice"),
        ] {
            let error = text.parse::<Choice>().expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn passes_that_do_not_go_together_are_refused_with_the_reason() {
        let kind = |name, needs, conflicts| Kind {
            name,
            what: "",
            needs,
            conflicts,
            usual: false,
            make: huge_pages::make,
        };
        let kinds = [
            kind("a", &[("b", "it has nothing to change")], &[]),
            kind("b", &[], &[("c", "both move code")]),
            kind("c", &[], &[]),
        ];
        let check = |chosen: &[&str]| {
            let checked = check_together(&kinds, |name| chosen.contains(&name));
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check(&["a", "b"]), Ok(()));
        assert_eq!(check(&["c"]), Ok(()));
        assert_eq!(check(&["a"]), Err("the pass `a` needs `b`: it has nothing to change".to_owned()));
        assert_eq!(check(&["b", "c"]), Err("the pass `b` does not go with `c`: both move code".to_owned()));
        // Those that there are need or exclude others that there are.
        let named = KINDS.iter().flat_map(|kind| kind.needs.iter().chain(kind.conflicts));
        assert!(named.clone().all(|(name, _)| KINDS.iter().any(|kind| kind.name == *name)));
    }
}
