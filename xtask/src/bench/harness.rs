//! Starts several programs in turn and takes the time from just before the start to the exit, and to a mark that the
//! program sets in main: the clock's value, written to descriptor 3. `posix_spawn` does not copy our address space
//! (vfork), so the harness' own size does not count. Each round runs every program once, in alternating order: what
//! disturbs the machine disturbs all of them alike.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::stats::Summary;

/// A program to start, in the form in which the kernel wants it.
pub struct Target {
    argv: Vec<CString>,
    envp: Vec<CString>,
}

impl Target {
    /// The words of the command, the first of them an absolute path, and the whole environment.
    pub fn new<S: AsRef<OsStr>>(words: &[S], environment: &[(&str, &OsStr)]) -> Result<Self> {
        let c = |bytes: &[u8]| CString::new(bytes).context("a zero byte in a command");
        let argv = words.iter().map(|word| c(word.as_ref().as_bytes())).collect::<Result<Vec<_>>>()?;
        let variable =
            |(name, value): &(&str, &OsStr)| c(&[name.as_bytes(), b"=", value.as_bytes()].concat());
        let envp = environment.iter().map(variable).collect::<Result<Vec<_>>>()?;
        if argv.is_empty() {
            bail!("an empty command");
        }
        Ok(Self { argv, envp })
    }
}

/// The times of one target.
#[derive(Debug, Default)]
pub struct Times {
    exit: Vec<f64>,
    mark: Vec<f64>,
}

impl Times {
    /// From just before the start to the exit.
    pub fn exit(&self) -> Option<Summary> {
        Summary::of(&self.exit)
    }

    /// From just before the start to the mark in main; None if the program sets none.
    pub fn mark(&self) -> Option<Summary> {
        Summary::of(&self.mark)
    }
}

/// Runs all targets in turn, `rounds` times after a warm-up, with `input` as their standard input.
pub fn run(targets: &[Target], rounds: usize, input: Option<&Path>) -> Result<Vec<Times>> {
    let mut spawner = Spawner::new(input.unwrap_or(Path::new("/dev/null")))?;
    let mut times: Vec<Times> = targets.iter().map(|_| Times::default()).collect();
    let warm_up = (rounds / 20).clamp(1, 10);
    for round in 0..rounds + warm_up {
        for turn in 0..targets.len() {
            let which = if round % 2 == 0 { turn } else { targets.len() - 1 - turn };
            let (exit, mark) = spawner.start(&targets[which])?;
            if round >= warm_up {
                times[which].exit.push(exit);
                times[which].mark.extend(mark);
            }
        }
    }
    Ok(times)
}

/// The files that every target gets.
struct Spawner {
    input: File,
    null: File,
    mark_out: File,
    mark_in: File,
}

impl Spawner {
    fn new(input: &Path) -> Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
            return Err(std::io::Error::last_os_error()).context("cannot make a pipe");
        }
        // SAFETY: both descriptors are new, and nobody else's.
        let [mark_in, mark_out] = ends.map(|end| unsafe { File::from_raw_fd(end) });
        let input = File::open(input).with_context(|| format!("cannot open {}", input.display()))?;
        let null = File::options().write(true).open("/dev/null")?;
        // Descriptor 3 is the target's: a file of ours with that number would be closed under us in the child only,
        // but the order of the file actions below relies on there being none.
        let mut files = Self { input, null, mark_out, mark_in };
        for file in [&mut files.input, &mut files.null, &mut files.mark_out, &mut files.mark_in] {
            if file.as_raw_fd() <= 3 {
                // SAFETY: F_DUPFD_CLOEXEC takes an integer and returns a new descriptor, or -1, which is checked.
                let high = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 10) };
                if high < 0 {
                    return Err(std::io::Error::last_os_error()).context("cannot duplicate a descriptor");
                }
                // SAFETY: the descriptor is new, and nobody else's.
                *file = unsafe { File::from_raw_fd(high) };
            }
        }
        Ok(files)
    }

    /// Starts a target, waits for its end, and returns the time to its exit and to its mark, in microseconds.
    fn start(&mut self, target: &Target) -> Result<(f64, Option<f64>)> {
        // A program that stops in the middle of its input moves the offset that all of them share.
        self.input.rewind().ok();
        let actions =
            FileActions::new(&[(&self.input, 0), (&self.null, 1), (&self.null, 2), (&self.mark_out, 3)])?;
        let pointers = |strings: &[CString]| {
            let pointers = strings.iter().map(|string| string.as_ptr().cast_mut());
            pointers.chain([std::ptr::null_mut()]).collect::<Vec<_>>()
        };
        let (argv, envp) = (pointers(&target.argv), pointers(&target.envp));
        let mut pid = 0;
        let mut status = 0;
        let begin = now();
        // SAFETY: all strings end with a zero byte, both arrays with a null pointer, and they outlive the call, as
        // do the file actions.
        let error = unsafe {
            libc::posix_spawn(&mut pid, argv[0], &actions.0, std::ptr::null(), argv.as_ptr(), envp.as_ptr())
        };
        if error != 0 {
            let error = std::io::Error::from_raw_os_error(error);
            return Err(error).with_context(|| format!("cannot start {:?}", target.argv[0]));
        }
        // SAFETY: `pid` is our child, and `status` is a place for one integer.
        while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                return Err(error).context("cannot wait for a target");
            }
        }
        let end = now();
        if status != 0 {
            bail!("{:?} ended with wait status {status:#x}", target.argv);
        }
        let mut mark = [0; 16];
        // The pipe does not block: a program that sets no mark leaves it empty.
        let mark = match self.mark_in.read(&mut mark) {
            Ok(16) => {
                let word = |at: usize| i64::from_ne_bytes(std::array::from_fn(|byte| mark[at + byte]));
                Some((word(0) as f64 * 1e9 + word(8) as f64 - begin) / 1e3)
            }
            _ => None,
        };
        Ok(((end - begin) / 1e3, mark))
    }
}

/// The clock that the marks are taken from, in nanoseconds.
fn now() -> f64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` has room for the result; CLOCK_MONOTONIC exists on every Linux.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Which of our files become which descriptors of the child.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new(files: &[(&File, i32)]) -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: `actions` has room for what init writes; the value is used only after it succeeded.
        let mut actions = unsafe {
            if libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) != 0 {
                bail!("no memory for the file actions");
            }
            Self(actions.assume_init())
        };
        for (file, number) in files {
            // SAFETY: the actions are initialised; the descriptor is open as long as `file` is borrowed.
            if unsafe { libc::posix_spawn_file_actions_adddup2(&mut actions.0, file.as_raw_fd(), *number) }
                != 0
            {
                bail!("no memory for the file actions");
            }
        }
        Ok(actions)
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, and destroyed only here.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}
