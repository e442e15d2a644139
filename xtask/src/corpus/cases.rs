//! Runs the corpus' cases: each under stock musl, under `LOADER PROGRAM`, and as a copy of the program whose PT_INTERP
//! is the loader, without and with an image. The loader passes if exit code and output are stock musl's, and the output is what was expected.
//! A loader that is fused with a libc can take the place of musl's instead, and run programs as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use difftest::bindings::{self, Dumps};

use super::manifest::{Case, Kind, Musl, folder};
use crate::proc::Outcome;
use crate::{jobs, namespace, paths, proc};

/// How a program is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is, by musl's own loader.
    Stock,
    /// `LOADER PROGRAM`.
    Direct,
    /// As a copy that names the loader as its interpreter.
    Interp,
    /// The same with an image, which is built first. If the program cannot have one, that is told.
    Image,
    /// As it is, by a fused loader in the place of musl's own.
    Installed,
}

impl Mode {
    /// All of a loader that stands beside musl's own; the first is what the others are compared with.
    pub const ALL: [Self; 3] = [Self::Stock, Self::Direct, Self::Interp];
    /// The same, with images.
    pub const WITH_IMAGES: [Self; 4] = [Self::Stock, Self::Direct, Self::Interp, Self::Image];
    /// The same for a loader in its place.
    pub const REPLACING: [Self; 2] = [Self::Stock, Self::Installed];

    /// The name to show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Direct => "direct",
            Self::Interp => "interp",
            Self::Image => "image",
            Self::Installed => "installed",
        }
    }
}

/// What came of a case in one mode.
pub struct Report {
    /// The mode.
    pub mode: Mode,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// How long it took.
    pub time: Duration,
    /// How many bindings were dumped.
    pub bindings: usize,
    /// Why programs had no image, in the mode where they should.
    pub without_image: Vec<String>,
}

/// Runs a case in some modes, of which the first is what the others are compared with. If there is a library that dumps
/// bindings, these are compared, too. `passes` make the images; the usual ones if nothing is said.
pub fn run(
    case: &Case,
    modes: &[Mode],
    loader: &Path,
    musl: Musl,
    dumper: Option<&Path>,
    passes: Option<&str>,
) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    let mut stock: Option<Run> = None;
    for &mode in modes {
        let run = run_in(case, mode, loader, musl, dumper, passes)?;
        let failure = judge(case, stock.as_ref().map(|stock| &stock.outcome), &run.outcome);
        let different = || run.bindings.differences(&stock.as_ref()?.bindings);
        let failure = failure.or_else(different).or_else(|| run.lacks_bindings(dumper));
        let Run { time, without_image, .. } = &run;
        let (time, without_image) = (*time, without_image.clone());
        reports.push(Report { mode, failure, time, bindings: run.bindings.count(), without_image });
        stock.get_or_insert(run);
    }
    Ok(reports)
}

/// One run of a case.
struct Run {
    outcome: Outcome,
    time: Duration,
    /// None if they were not asked for.
    bindings: Dumps,
    /// Why programs had no image.
    without_image: Vec<String>,
}

impl Run {
    fn lacks_bindings(&self, dumper: Option<&Path>) -> Option<String> {
        (dumper.is_some() && self.bindings.count() == 0).then(|| "no bindings were dumped".to_owned())
    }
}

/// Why an outcome is not right, by the case and by stock musl's outcome; None if it is.
pub fn judge(case: &Case, stock: Option<&Outcome>, outcome: &Outcome) -> Option<String> {
    let with_stderr = |text: String| match outcome.stderr.trim() {
        "" => Some(text),
        stderr => Some(format!("{text}; standard error ends:\n{}", proc::tail(stderr, 4))),
    };
    if let Some(stock) = stock {
        if stock.end != outcome.end {
            return with_stderr(format!("{}, but stock musl: {}", outcome.end, stock.end));
        }
        if stock.stdout != outcome.stdout && !case.own_output {
            return with_stderr(format!("wrote {:?}, but stock musl: {:?}", outcome.stdout, stock.stdout));
        }
    }
    if outcome.end != "exit 0" {
        return with_stderr(outcome.end.clone());
    }
    if !outcome.stdout.contains(&case.expect) {
        return with_stderr(format!("wrote {:?}, which does not contain {:?}", outcome.stdout, case.expect));
    }
    None
}

fn run_in(
    case: &Case,
    mode: Mode,
    loader: &Path,
    musl: Musl,
    dumper: Option<&Path>,
    passes: Option<&str>,
) -> Result<Run> {
    let corpus = super::dir()?;
    let scratch = corpus.join(format!(".tmp-{}", std::process::id()));
    // The folder is ours alone: its name holds our process id.
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch)?;
    let mut bash = match mode {
        Mode::Installed => namespace::with_loader(loader, "bash".as_ref()),
        _ => Command::new("bash"),
    };
    clean(&mut bash, &scratch);
    let dumps = scratch.join("bindings");
    let command = match dumper {
        Some(library) => {
            fs::create_dir(&dumps)?;
            dumping(&case.command, library, &dumps)
        }
        None => case.command.clone(),
    };
    let images = scratch.join("images");
    let command = expand(&command, mode, loader, musl)?;
    if mode == Mode::Image {
        fs::create_dir(&images)?;
        bash.env("IMAGES", &images).env("MORSELCTL", jobs::build::tool()?);
        bash.envs(passes.map(|passes| ("PASSES", passes)));
        bash.arg("-c").arg(format!("{WITH_IMAGE}{command}"));
    } else {
        bash.arg("-c").arg(command);
    }
    bash.current_dir(&corpus);
    if mode != Mode::Stock {
        if musl == Musl::V1_2_5 && mode != Mode::Installed {
            bash.env("LD_MORSEL_LIBC", paths::musl_1_2_5()?);
        }
        for wish in ["LD_MORSEL_MAP", "LD_MORSEL_LOG"] {
            if let Some(value) = std::env::var_os(wish) {
                bash.env(wish, value);
            }
        }
    }
    let begin = Instant::now();
    let outcome = proc::outcome(&mut bash, limit(case.kind))?;
    let time = begin.elapsed();
    let bindings = if dumper.is_some() { Dumps::read(&dumps)? } else { Dumps::default() };
    let log = fs::read_to_string(scratch.join("images.log")).unwrap_or_default();
    let mut without_image: Vec<String> = log.lines().map(str::to_owned).collect();
    without_image.dedup();
    fs::remove_dir_all(&scratch)?;
    Ok(Run { outcome, time, bindings, without_image })
}

/// A function of the shell that runs a program with an image, which is proved and must be used; or, if it cannot have one, without.
/// Passes that make no sense are a failure. What the loader is told by its environment is not meant for the tool.
const WITH_IMAGE: &str = r#"image() {
    local program=$1 path=${LD_LIBRARY_PATH-} preload=${LD_PRELOAD-} setting=off; shift
    if LD_LIBRARY_PATH= LD_PRELOAD= "$MORSELCTL" build ${path:+--library-path "$path"} ${preload:+--preload "$preload"} \
        ${LD_MORSEL_LIBC:+--libc "$LD_MORSEL_LIBC"} ${PASSES:+--passes "$PASSES"} \
        --into "$IMAGES" "$program" >/dev/null 2>>"$IMAGES.log"
    then
        setting=require:$IMAGES/
        LD_LIBRARY_PATH= LD_PRELOAD= "$MORSELCTL" verify "$IMAGES"/* >/dev/null || return
    elif [ $? = 2 ]; then
        cat "$IMAGES.log" >&2; return 2
    fi
    LD_MORSEL_IMAGE=$setting "$program" "$@"
}
"#;

/// The command of a case whose programs, and only these, preload a library that dumps bindings to a folder. (Programs of the
/// host are not musl's.)
fn dumping(command: &str, library: &Path, folder: &Path) -> String {
    let preload = format!(r#"LD_PRELOAD="{}${{LD_PRELOAD:+:$LD_PRELOAD}}""#, library.display());
    command.replace("{run ", &format!("{preload} {}='{}' {{run ", bindings::FOLDER, folder.display()))
}

/// Gives a command next to no environment, so that runs are alike.
fn clean(command: &mut Command, scratch: &Path) {
    command.env_clear().env("TMP", scratch).env("HOME", scratch).env("LC_ALL", "C");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
}

/// The command of a case for one mode: replaces `{run PROGRAM}`, `{stock}` and `{here}`.
pub fn expand(command: &str, mode: Mode, loader: &Path, musl: Musl) -> Result<String> {
    let stock_loader = match musl {
        Musl::V1_2_3 => paths::STOCK.to_owned(),
        Musl::V1_2_5 => paths::musl_1_2_5()?.display().to_string(),
    };
    let mut text =
        command.replace("{stock}", &stock_loader).replace("{here}", &folder().display().to_string());
    while let Some(start) = text.find("{run ") {
        let end = start + text[start..].find('}').context("a {run without its }")?;
        let program = &text[start + "{run ".len()..end];
        let run = match (mode, musl) {
            (Mode::Stock, Musl::V1_2_3) | (Mode::Installed, _) => program.to_owned(),
            (Mode::Stock, Musl::V1_2_5) => format!("{stock_loader} {program}"),
            (Mode::Direct, _) => format!("{} {program}", loader.display()),
            (Mode::Image, _) => {
                format!("image {}", patched(&super::dir()?.join(program), loader)?.display())
            }
            (Mode::Interp, _) => patched(&super::dir()?.join(program), loader)?.display().to_string(),
        };
        text.replace_range(start..=end, &run);
    }
    Ok(text)
}

/// A copy of `program` beside it, so that $ORIGIN stays the same, whose interpreter is `loader`.
pub fn patched(program: &Path, loader: &Path) -> Result<PathBuf> {
    if !program.is_file() {
        bail!("{} is not there: `cargo xtask corpus --build`", program.display());
    }
    let mut name = program.file_name().unwrap_or_default().to_owned();
    name.push(".ld-morsel");
    let copy = program.with_file_name(name);
    let interpreter = |of: &Path| proc::output(proc::command("patchelf").arg("--print-interpreter").arg(of));
    let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
    let current = copy.exists()
        && modified(&copy)? >= modified(program)?
        && interpreter(&copy).is_ok_and(|path| Path::new(path.trim_end()) == loader);
    if !current {
        // A program that still runs, or an unfinished copy, must not be written into.
        let new = copy.with_extension("new");
        fs::copy(program, &new)?;
        proc::output(proc::command("patchelf").arg("--set-interpreter").arg(loader).arg(&new))?;
        fs::rename(&new, &copy)?;
    }
    Ok(copy)
}

/// How long one run may take.
fn limit(kind: Kind) -> Duration {
    Duration::from_secs(if kind == Kind::Start { 60 } else { 180 })
}
