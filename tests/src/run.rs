//! Runs one command with a time limit and keeps what it wrote and how it ended.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exit(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It was still running at the time limit, and was killed.
    Timeout,
}

impl Ending {
    fn from_status(status: ExitStatus) -> Ending {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exit(code),
            (None, Some(signal)) => Ending::Signal(signal),
            (None, None) => Ending::Exit(-1),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exit(code) => write!(f, "exit {code}"),
            Ending::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
            Ending::Timeout => write!(f, "timeout"),
        }
    }
}

/// What a process did, as far as a user can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// Runs `command` to its end, or kills it and all it started when `limit` has passed.
pub fn run(command: &mut Command, limit: Duration) -> Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = spawn(command).with_context(|| format!("cannot start {command:?}"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let ending = wait(&mut child, limit)?;
    Ok(Outcome { ending, stdout: text(stdout)?, stderr: text(stderr)? })
}

/// Starts a command. A program that has just been written may still be open for writing in a child of another test's thread, until
/// that child becomes another program: it is waited for.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let mut attempts = 0..100;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && attempts.next().is_some() => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn collect<R: Read + Send + 'static>(pipe: Option<R>) -> thread::JoinHandle<std::io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

fn text(reader: thread::JoinHandle<std::io::Result<Vec<u8>>>) -> Result<String> {
    let bytes = match reader.join() {
        Ok(bytes) => bytes.context("cannot read the output of the process")?,
        Err(_) => anyhow::bail!("the thread that reads the output panicked"),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn wait(child: &mut Child, limit: Duration) -> Result<Ending> {
    let group = Pid::from_raw(child.id().try_into().context("process id out of range")?);
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    let ending = loop {
        if let Some(status) = child.try_wait().context("cannot wait for the process")? {
            break Ending::from_status(status);
        }
        if Instant::now() >= deadline {
            break Ending::Timeout;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    };
    // Whatever the process left behind would hold the pipes open. ESRCH means that nothing is left.
    killpg(group, Signal::SIGKILL).or_else(|e| if e == nix::Error::ESRCH { Ok(()) } else { Err(e) })?;
    if ending == Ending::Timeout {
        child.wait().context("cannot reap the process that was killed")?;
    }
    Ok(ending)
}
