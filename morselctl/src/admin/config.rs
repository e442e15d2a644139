//! The configuration file of administrators, `/etc/ld-morsel.toml`: which programs have images, and for which starts.
//!
//! ```toml
//! [defaults]                        # what an [[image]] does not say itself
//! library-path = "/opt/lib"
//!
//! [[image]]
//! programs = ["/usr/bin/prog", "/opt/app/bin/*"]
//! exclude = ["/opt/app/bin/debug-*"]
//! preload = "/usr/lib/libmalloc.so"
//! libc = "/opt/musl/lib/libc.so"
//! passes = []
//! ```

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use glob::Pattern;
use serde::Deserialize;
use toml::Spanned;

use crate::elf_file::ElfFile;
use crate::image::{Choice, Circumstances};

/// Where the file is unless the user names another.
pub const USUAL: &str = "/etc/ld-morsel.toml";

/// The file cannot be used: its name, the line where there is one, and the cause.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A configuration file that makes sense.
#[derive(Debug)]
pub struct Config {
    path: PathBuf,
    images: Vec<Entry>,
}

/// An `[[image]]`.
#[derive(Debug)]
struct Entry {
    programs: Vec<Wanted>,
    exclude: Vec<Pattern>,
    /// They share one image.
    share: bool,
    circumstances: Circumstances,
}

/// One of its `programs`, and its line.
#[derive(Debug)]
struct Wanted {
    pattern: Pattern,
    line: usize,
}

/// Programs that shall have an image.
#[derive(Debug)]
pub struct Group {
    /// Their paths, without symbolic links; several share one image.
    pub programs: Vec<PathBuf>,
    /// Under which circumstances they are started.
    pub circumstances: Circumstances,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    defaults: RawSettings,
    #[serde(default)]
    image: Vec<RawImage>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSettings {
    library_path: Option<Spanned<String>>,
    preload: Option<Spanned<String>>,
    libc: Option<Spanned<String>>,
    passes: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawImage {
    programs: Vec<Spanned<String>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    #[serde(default)]
    share: bool,
    // `flatten` and `deny_unknown_fields` exclude each other.
    library_path: Option<Spanned<String>>,
    preload: Option<Spanned<String>>,
    libc: Option<Spanned<String>>,
    passes: Option<Vec<Spanned<String>>>,
}

impl Config {
    /// Reads the file at `path`; without, the usual one, which may be absent: then nothing is listed.
    ///
    /// # Errors
    /// A [`ConfigError`].
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let (path, may_be_absent) = (path.unwrap_or(Path::new(USUAL)), path.is_none());
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(path, &text)?),
            Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { path: path.to_owned(), images: Vec::new() })
            }
            Err(error) => Err(ConfigError(format!("{}: {error}", path.display())).into()),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let reader = Reader { path, text };
        let raw: RawFile = toml::from_str(text).map_err(|error| match error.span() {
            Some(span) => reader.error(span.start, error.message().trim_end()),
            None => ConfigError(format!("{}: {}", path.display(), error.message())),
        })?;
        reader.passes(raw.defaults.passes.as_deref())?;
        let images = raw.image.iter().map(|image| reader.entry(image, &raw.defaults));
        Ok(Self { path: path.to_owned(), images: images.collect::<Result<_, _>>()? })
    }

    /// The programs that are listed and there, each once: the first `[[image]]` that lists one counts. `warn` is told of paths
    /// at which there is nothing. What only a pattern finds counts if it is a program whose interpreter is ld-morsel.
    ///
    /// # Errors
    /// A directory cannot be searched.
    pub fn groups(&self, mut warn: impl FnMut(String)) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        let mut known = HashSet::new();
        let mut interpreters = HashMap::new();
        for Entry { programs, exclude, share, circumstances } in &self.images {
            let mut listed = Vec::new();
            for Wanted { pattern, line } in programs {
                let place = || format!("{}:{line}", self.path.display());
                let literal = is_literal(pattern);
                let found = glob::glob(pattern.as_str()).with_context(place)?;
                let mut count = 0;
                for path in found {
                    let path = path.with_context(place)?;
                    count += 1;
                    if exclude.iter().any(|pattern| pattern.matches_path(&path)) {
                        continue;
                    }
                    let program = fs::canonicalize(&path).with_context(|| path.display().to_string());
                    // A dangling link that a pattern has found is nobody's program.
                    let program = match program {
                        Err(_) if !literal => continue,
                        program => program?,
                    };
                    if (literal || is_ours(&program, &mut interpreters)) && known.insert(program.clone()) {
                        listed.push(program);
                    }
                }
                if count == 0 {
                    warn(format!("{}: there is no {pattern}", place()));
                }
            }
            let size = if *share { listed.len().max(1) } else { 1 };
            groups.extend(
                listed.chunks(size).map(|programs| Group {
                    programs: programs.to_vec(),
                    circumstances: circumstances.clone(),
                }),
            );
        }
        Ok(groups)
    }
}

/// What turns the text into what it means, or into errors.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
    }

    fn error(&self, offset: usize, cause: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{}:{}: {cause}", self.path.display(), self.line(offset)))
    }

    fn entry(&self, image: &RawImage, defaults: &RawSettings) -> Result<Entry, ConfigError> {
        let text = |own: &Option<Spanned<String>>, default: &Option<Spanned<String>>| {
            own.as_ref().or(default.as_ref()).map(|value| self.text(value)).transpose()
        };
        let libc = image.libc.as_ref().or(defaults.libc.as_ref());
        if let Some(libc) = libc {
            self.absolute(libc)?;
        }
        let programs = image.programs.iter().map(|program| {
            Ok(Wanted { pattern: self.pattern(program)?, line: self.line(program.span().start) })
        });
        Ok(Entry {
            programs: programs.collect::<Result<_, _>>()?,
            share: image.share,
            exclude: image.exclude.iter().map(|pattern| self.pattern(pattern)).collect::<Result<_, _>>()?,
            circumstances: Circumstances {
                library_path: text(&image.library_path, &defaults.library_path)?,
                preload: text(&image.preload, &defaults.preload)?,
                libc: text(&image.libc, &defaults.libc)?,
                portable: false,
                passes: self.passes(image.passes.as_deref().or(defaults.passes.as_deref()))?,
            },
        })
    }

    /// What an environment variable can hold.
    fn text(&self, value: &Spanned<String>) -> Result<OsString, ConfigError> {
        match value.get_ref().contains('\0') {
            true => Err(self.error(value.span().start, "a value must not contain a NUL character")),
            false => Ok(value.get_ref().into()),
        }
    }

    fn absolute(&self, value: &Spanned<String>) -> Result<(), ConfigError> {
        match value.get_ref().starts_with('/') {
            true => Ok(()),
            false => {
                let cause = format!("`{}` is not an absolute path", value.get_ref());
                Err(self.error(value.span().start, cause))
            }
        }
    }

    fn pattern(&self, value: &Spanned<String>) -> Result<Pattern, ConfigError> {
        self.absolute(value)?;
        let error = |error| self.error(value.span().start, format!("`{}`: {error}", value.get_ref()));
        Pattern::new(value.get_ref()).map_err(error)
    }

    fn passes(&self, names: Option<&[Spanned<String>]>) -> Result<Choice, ConfigError> {
        let Some(names) = names else { return Ok(Choice::default()) };
        let all: Vec<&str> = names.iter().map(|name| name.get_ref().as_str()).collect();
        // The first that makes no sense together with those before it; what it needs may come behind it.
        let culprit = |count: &usize| all[..*count].join(",").parse::<Choice>().is_err();
        all.join(",").parse().map_err(|error: anyhow::Error| {
            let count = (1..all.len()).find(culprit).unwrap_or(all.len());
            self.error(names.get(count - 1).map_or(0, |name| name.span().start), error)
        })
    }
}

/// Whether a pattern stands for itself alone.
fn is_literal(pattern: &Pattern) -> bool {
    !pattern.as_str().contains(['*', '?', '['])
}

/// Whether a file is a program that ld-morsel loads. `interpreters` keeps what is known of those.
fn is_ours(path: &Path, interpreters: &mut HashMap<PathBuf, bool>) -> bool {
    let mut magic = [0; 4];
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let is_elf = is_file
        && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF";
    let Some(interpreter) =
        is_elf.then(|| ElfFile::read(path).ok()).flatten().and_then(|(file, _)| file.interpreter())
    else {
        return false;
    };
    *interpreters.entry(interpreter).or_insert_with_key(|interpreter| {
        ElfFile::read(interpreter).is_ok_and(|(file, _)| file.morsel_note().is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::parse(Path::new("/etc/c.toml"), text).expect_err(text).to_string()
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let mistakes = [
            ("[[image]]\nprograms = [\"/a\"]\nprogram = 1\n", "/etc/c.toml:3: unknown field `program`"),
            ("[[image]]\nprograms = [\n  \"/a\",\n  \"b\"]\n", "/etc/c.toml:4: `b` is not an absolute path"),
            ("[[image]]\nprograms = [\"/a/***\"]\n", "/etc/c.toml:2: `/a/***`: Pattern syntax error"),
            (
                "[defaults]\n\npasses = [\"huge\"]\n",
                "/etc/c.toml:3: there is no pass `huge`; those that there are: ",
            ),
            (
                "[[image]]\nprograms = [\"/a\"]\npasses = [\n\"order=random\",\n\"order=/a\"]\n",
                "/etc/c.toml:5: the pass `order` is there twice",
            ),
            (
                "[[image]]\nprograms = [\"/a\"]\npasses = [\"default\", \"verify=list\"]\n",
                "/etc/c.toml:3: the pass `verify` needs the absolute path of a list",
            ),
            (
                "[[image]]\nprograms = [\"/a\"]\nlibc = \"libc.so\"\n",
                "/etc/c.toml:3: `libc.so` is not an absolute path",
            ),
            ("[[image]]\nprograms = \"/a\"\n", "/etc/c.toml:2: invalid type"),
            ("[[image]]\npreload = \"x\"\n", "/etc/c.toml:1: missing field `programs`"),
            ("[defaults\n", "/etc/c.toml:1: "),
            (
                "[[image]]\nprograms = [\"/a\"]\npreload = \"a\\u0000b\"\n",
                "/etc/c.toml:3: a value must not contain",
            ),
        ];
        for (text, expected) in mistakes {
            let refusal = refusal(text);
            assert!(refusal.starts_with(expected), "{refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    #[test]
    fn an_image_overrides_the_defaults() {
        let text =
            "[defaults]\nlibrary-path = \"/d\"\npreload = \"p\"\n[[image]]\nprograms = []\npreload = \"q\"\n";
        let config = Config::parse(Path::new("c"), text).expect("it makes sense");
        let circumstances = &config.images[0].circumstances;
        assert_eq!(circumstances.library_path.as_deref(), Some("/d".as_ref()));
        assert_eq!(circumstances.preload.as_deref(), Some("q".as_ref()));
        assert_eq!(circumstances.libc, None);
    }
}
