//! Removes from a program's output what must differ between two runs, and nothing else.
//!
//! Always: the folder of the build copy becomes `$DIR`, the temporary folder `$TMP`, the paths of the loader and
//! of the libc `$LD` (in stock musl they are one file). On request of a case: addresses, the version line.

use std::path::Path;

use anyhow::{Context, Result, bail};
use regex::Regex;

/// A further normalisation that a case can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// `0x` and hexadecimal digits become `0xADDR`.
    Addresses,
    /// The rest of a line that begins with `Version ` becomes `$VERSION`.
    Version,
}

impl Extra {
    /// Reads the name of a normalisation as it stands in a directive.
    pub fn parse(name: &str) -> Result<Extra> {
        match name {
            "addresses" => Ok(Extra::Addresses),
            "version" => Ok(Extra::Version),
            _ => bail!("unknown normalisation `{name}` (addresses, version)"),
        }
    }
}

/// The replacements for one run.
#[derive(Debug)]
pub struct Normaliser {
    literal: Vec<(String, &'static str)>,
    patterns: Vec<(Regex, &'static str)>,
}

impl Normaliser {
    /// Prepares the replacements for a run in folder `dir` by a loader (and libc) of these paths.
    ///
    /// `scratch` is the run's temporary folder.
    pub fn new(dir: &Path, scratch: &Path, loaders: &[&Path], extras: &[Extra]) -> Result<Normaliser> {
        let mut literal = vec![(dir.display().to_string(), "$DIR"), (scratch.display().to_string(), "$TMP")];
        literal.extend(loaders.iter().map(|path| (path.display().to_string(), "$LD")));
        // The longest first, in case that one path is the beginning of another.
        literal.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let patterns = extras
            .iter()
            .map(|extra| {
                let (pattern, replacement) = match extra {
                    Extra::Addresses => ("0x[0-9a-f]+", "0xADDR"),
                    Extra::Version => ("(?m)^Version .*$", "Version $$VERSION"),
                };
                Ok((Regex::new(pattern).context("bad built-in pattern")?, replacement))
            })
            .collect::<Result<_>>()?;
        Ok(Normaliser { literal, patterns })
    }

    /// Applies the replacements to a text.
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, replacement) in &self.literal {
            text = text.replace(path, replacement);
        }
        for (pattern, replacement) in &self.patterns {
            text = pattern.replace_all(&text, *replacement).into_owned();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_replaced() -> Result<()> {
        let text = "/b/c/x /lib/ld 0x7f00 Version 1\nVersion 1.2\n";
        let plain = Normaliser::new(Path::new("/b/c"), Path::new("/s"), &[Path::new("/lib/ld")], &[])?;
        assert_eq!(plain.apply(text), "$DIR/x $LD 0x7f00 Version 1\nVersion 1.2\n");
        let all =
            Normaliser::new(Path::new("/b/c"), Path::new("/s"), &[], &[Extra::Addresses, Extra::Version])?;
        assert_eq!(all.apply(text), "$DIR/x /lib/ld 0xADDR Version 1\nVersion $VERSION\n");
        Ok(())
    }
}
