//! Running other programs: with the environment that they would have had without cargo in between, with errors
//! that say which command failed, with their output in a log, or under a time limit.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A command without the variables that cargo, or a user who tries the loader, has put into our environment.
///
/// `cargo run` sets `LD_LIBRARY_PATH` to folders of glibc libraries, which musl's loader would search too.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let cargo = text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
        let loader = text.starts_with("LD_MORSEL_") && text != "LD_MORSEL_CACHE";
        // Descriptors of a make that may have started us are not passed on: see keep_descriptors_to_ourselves.
        let others = ["LD_LIBRARY_PATH", "LD_PRELOAD", "MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS"];
        if cargo || loader || others.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
}

/// Closes, in every program that we will start, the descriptors that we inherited, but for the three standard ones:
/// what a shell or a CI runner left open is none of their business, and programs that list theirs would differ.
pub fn keep_descriptors_to_ourselves() {
    // SAFETY: marks descriptors as close-on-exec, which no code of ours relies on not being so. A kernel that does
    // not know the call (before 5.11) returns an error, and all stays as it was.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// The cargo that runs this job, so that every job uses one toolchain.
pub fn cargo() -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(crate::paths::repo());
    cargo
}

/// The command as one would type it.
pub fn display(command: &Command) -> String {
    let program = command.get_program();
    let cargo = std::env::var_os("CARGO").is_some_and(|cargo| cargo == program);
    let words = std::iter::once(if cargo { "cargo".as_ref() } else { program }).chain(command.get_args());
    words
        .map(|word| match word.to_string_lossy() {
            word if word.contains([' ', '\n']) => format!("'{}'", word.lines().next().unwrap_or_default()),
            word => word.into_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs to the end, with our own output streams.
pub fn run(command: &mut Command) -> Result<()> {
    let text = display(command);
    let status = command.status().with_context(|| format!("cannot run `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}");
    }
    Ok(())
}

/// Runs to the end and returns what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let text = display(command);
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}\n{}", tail(&String::from_utf8_lossy(&stderr), 15));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs to the end with all output in a log file, whose last lines the error shows.
pub fn logged(command: &mut Command, log: &Path) -> Result<()> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)?;
    }
    let text = display(command);
    let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot run `{text}`"))?;
    if !status.success() {
        let written = fs::read(log).unwrap_or_default();
        let written = String::from_utf8_lossy(&written);
        bail!("{status}; {} ends:\n{}", log.display(), tail(&written, 15));
    }
    Ok(())
}

/// Whether a program of this name is in PATH.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// How a program ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `exit N`, `signal N` or `timeout`.
    pub end: String,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a command in a process group of its own and kills the whole group at its end or after `limit`.
pub fn outcome(command: &mut Command, limit: Duration) -> Result<Outcome> {
    let text = display(command);
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{text}`"))?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let group = child.id() as libc::pid_t;
    // SAFETY: kill has no memory effects. The group is the child's own; should nothing of it be left, the call fails
    // with ESRCH.
    let kill = move || unsafe { libc::kill(-group, libc::SIGKILL) };
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if late {
            kill();
        }
        late
    });
    let status = child.wait()?;
    drop(ended);
    kill();
    let late = watchdog.join().unwrap_or_default();
    let end = if late { "timeout".to_owned() } else { describe(status) };
    let join = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    Ok(Outcome { end, stdout: join(stdout), stderr: join(stderr) })
}

/// `exit N` or `signal N`.
pub fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit {}", status.code().unwrap_or(-1)),
    }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // A read error ends the text early, which the comparison of outputs will show.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The last `n` lines.
pub fn tail(text: &str, n: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(n)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Outcome {
        outcome(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn an_outcome_holds_both_streams_and_the_end() {
        let outcome = sh("echo a; echo b >&2; exit 3", Duration::from_secs(10));
        assert_eq!(
            (outcome.end.as_str(), outcome.stdout.as_str(), outcome.stderr.as_str()),
            ("exit 3", "a\n", "b\n")
        );
        assert_eq!(sh("kill -9 $$", Duration::from_secs(10)).end, "signal 9");
    }

    #[test]
    fn what_takes_too_long_is_killed_with_its_children() {
        let outcome = sh("echo before; sleep 100 & wait", Duration::from_millis(200));
        assert_eq!((outcome.end.as_str(), outcome.stdout.as_str()), ("timeout", "before\n"));
    }

    #[test]
    fn children_that_outlive_the_command_hold_nothing_up() {
        assert_eq!(sh("sleep 100 & echo done", Duration::from_secs(50)).end, "exit 0");
    }
}
