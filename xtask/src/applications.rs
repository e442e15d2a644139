//! Real applications at work: `corpus/applications.toml`, and how long the work takes that each does, under one loader or another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::corpus::cases::{self, Mode};
use crate::corpus::manifest::{Musl, folder};
use crate::{corpus, proc};

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Something that does work.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// What it does, in one line.
    pub what: String,
    /// The packages of the corpus that it runs.
    pub needs: Vec<String>,
    /// Packages of Debian that have the clients.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Bash, as the file says.
    command: String,
}

/// All of them.
///
/// # Errors
/// The file cannot be read, or says something unknown.
pub fn all() -> Result<Vec<Application>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Applications {
        application: Vec<Application>,
    }
    let file = folder().join("applications.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let Applications { application: all } =
        toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    Ok(all)
}

/// How an application is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loading {
    /// By stock musl.
    Stock,
    /// By our loader, library by library.
    Ours,
    /// From an image, made by these passes.
    Image(String),
}

/// The loader, the tool, and where images stay from one run to the next.
pub struct Place<'a> {
    /// Our loader.
    pub loader: &'a Path,
    /// `morselctl`.
    pub tool: &'a Path,
    /// A folder of our own.
    pub dir: &'a Path,
}

/// The functions of the shell that commands use. An image is built, and proved, when it is not there; the loader must use it. What the
/// loader is told by its environment is not meant for other programs.
const FUNCTIONS: &str = r#"
measure() {
    local begin=$EPOCHREALTIME
    "$@" >"$TMP/output" 2>"$TMP/errors" || { cat "$TMP/errors" >&2; exit 1; }
    echo "took $((${EPOCHREALTIME/./} - ${begin/./}))"
}
ready() {
    for _ in {1..200}; do [ -e "$1" ] && return; sleep 0.05; done
    echo "there is no $1" >&2; exit 1
}
image() {
    local path=${LD_LIBRARY_PATH-} preload=${LD_PRELOAD-}
    if [ -n "$PASSES" ] && ! compgen -G "$IMAGES/*" >/dev/null; then
        LD_LIBRARY_PATH= LD_PRELOAD= "$MORSELCTL" build ${path:+--library-path "$path"} ${preload:+--preload "$preload"} \
            --passes "$PASSES" --into "$IMAGES" "$1" >&2 || return
        LD_LIBRARY_PATH= LD_PRELOAD= "$MORSELCTL" verify "$IMAGES"/* >&2 || return
    fi
    LD_MORSEL_IMAGE=$SETTING "$@"
}
"#;

impl Application {
    /// Microseconds that the work takes. The first run of a loading that has an image builds it.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, loading: &Loading, place: &Place<'_>) -> Result<f64> {
        let (mode, passes) = match loading {
            Loading::Stock => (Mode::Stock, ""),
            Loading::Ours => (Mode::Image, ""),
            Loading::Image(passes) => (Mode::Image, passes.as_str()),
        };
        let command = cases::expand(&self.command, mode, place.loader, Musl::V1_2_3)?;
        let scratch = place.dir.join("scratch");
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        fs::create_dir_all(&scratch)?;
        let images: PathBuf = place.dir.join(format!("{}-{passes}", self.name.replace([' ', ','], "")));
        fs::create_dir_all(&images)?;
        let setting =
            if passes.is_empty() { "off".to_owned() } else { format!("require:{}/", images.display()) };
        let mut bash = Command::new("bash");
        bash.env_clear().env("TMP", &scratch).env("HOME", &scratch).env("LC_ALL", "C");
        bash.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        bash.env("MORSELCTL", place.tool)
            .env("PASSES", passes)
            .env("IMAGES", &images)
            .env("SETTING", setting);
        bash.current_dir(corpus::dir()?).arg("-c").arg(format!("{FUNCTIONS}{command}"));
        let outcome = proc::outcome(&mut bash, LIMIT)?;
        if outcome.end != "exit 0" {
            bail!("{}: {}", outcome.end, proc::tail(outcome.stderr.trim(), 4));
        }
        let took = outcome.stdout.lines().find_map(|line| line.strip_prefix("took ")?.parse().ok());
        took.with_context(|| format!("it does not tell how long it took, but {:?}", outcome.stdout))
    }
}

#[cfg(test)]
mod tests {
    use crate::corpus::manifest::Manifest;

    #[test]
    fn applications_run_what_the_corpus_has() {
        let manifest = Manifest::read().unwrap();
        for application in super::all().unwrap() {
            assert!(application.command.contains("{run ") && application.command.contains("measure "));
            for need in &application.needs {
                assert!(manifest.packages.iter().any(|package| package.name == *need), "{need}");
            }
        }
    }
}
