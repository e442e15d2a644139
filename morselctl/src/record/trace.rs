//! Starting a program up to `main` and looking at it there. The loader sends the process a signal when `main` begins, if its image
//! says that somebody watches; this tracer takes the signal away, so that the program never sees it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::image::Circumstances;

/// A program and how it is started.
pub struct Start<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [OsString],
    /// What the image has been built for; everything else is in its environment that is in ours.
    pub circumstances: &'a Circumstances,
}

/// A process that is about to begin its `main`. Dropped, it is killed.
pub struct AtMain {
    pid: Pid,
    /// How long it took from exec.
    pub time: Duration,
}

impl Start<'_> {
    /// Starts the program with an image that says that its `main` is watched. `quiet`: it has no input, and nobody reads what it
    /// writes.
    ///
    /// # Errors
    /// It cannot be started or traced, or ends before it begins its `main` with this image.
    pub fn to_main(&self, image: &Path, quiet: bool) -> Result<AtMain> {
        let mut command = Command::new(self.program);
        command.args(self.arguments).env("LD_MORSEL_IMAGE", image);
        let Circumstances { library_path, preload, libc, .. } = self.circumstances;
        let wishes = [("LD_LIBRARY_PATH", library_path), ("LD_PRELOAD", preload), ("LD_MORSEL_LIBC", libc)];
        for (name, value) in wishes {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if quiet {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        // SAFETY: a system call, without memory or locks, is allowed between fork and exec.
        unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
        let child = command.spawn().with_context(|| self.program.display().to_string())?;
        let mut process = AtMain { pid: Pid::from_raw(child.id().cast_signed()), time: Duration::ZERO };
        process.go_to_main().with_context(|| self.program.display().to_string())?;
        Ok(process)
    }
}

impl AtMain {
    fn go_to_main(&mut self) -> Result<()> {
        let pid = self.pid;
        let WaitStatus::Stopped(_, Signal::SIGTRAP) = waitpid(pid, None)? else {
            bail!("it cannot be traced")
        };
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL)?;
        let begun = Instant::now();
        ptrace::cont(pid, None)?;
        loop {
            match waitpid(pid, None)? {
                WaitStatus::Stopped(_, Signal::SIGURG) if is_own(pid)? => break,
                WaitStatus::Stopped(_, Signal::SIGTRAP) => bail!("it has become another program before main"),
                WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal)?,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                    bail!("it has ended without reaching main with its image; LD_MORSEL_LOG=info tells why")
                }
                _ => {}
            }
        }
        self.time = begun.elapsed();
        Ok(())
    }

    /// The process.
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Lets it go its way, and waits for its end. Returns how it ended if not well.
    ///
    /// # Errors
    /// It cannot be let go.
    pub fn finish(self) -> Result<Option<String>> {
        ptrace::detach(self.pid, None)?;
        let status = waitpid(self.pid, None)?;
        std::mem::forget(self);
        Ok(match status {
            WaitStatus::Exited(_, 0) => None,
            WaitStatus::Exited(_, code) => Some(format!("exit code {code}")),
            WaitStatus::Signaled(_, signal, _) => Some(signal.to_string()),
            other => Some(format!("{other:?}")),
        })
    }
}

impl Drop for AtMain {
    fn drop(&mut self) {
        // It may have ended already, and been waited for.
        if kill(self.pid, Signal::SIGKILL).is_ok() {
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Whether the signal for which it is stopped comes from the process itself.
fn is_own(pid: Pid) -> Result<bool> {
    let info = ptrace::getsiginfo(pid)?;
    // SAFETY: a signal sent by tgkill carries the sender's process id.
    Ok(info.si_code == libc::SI_TKILL && unsafe { info.si_pid() } == pid.as_raw())
}
