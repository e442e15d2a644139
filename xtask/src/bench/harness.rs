//! Starts several programs in turn and takes the time from just before the start to the exit, and to a mark that the
//! program sets in main: the clock's value, written to descriptor 3. `posix_spawn` does not copy our address space
//! (vfork), so the harness' own size does not count. Each round runs every program once, in an order that is drawn anew: what
//! disturbs the machine disturbs all of them alike, and nobody always comes after the same one, which may have left the caches
//! full of other things.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::stats::Summary;
use super::workload::Start;

/// A program to start, in the form in which the kernel wants it.
pub struct Target {
    program: CString,
    argv: Vec<CString>,
    envp: Vec<CString>,
    /// How it ends when all is well: the status that wait returns.
    status: i32,
}

impl Target {
    /// The words of the command, the first of them an absolute path, and the whole environment.
    pub fn new<S: AsRef<OsStr>>(words: &[S], environment: &[(&str, &OsStr)]) -> Result<Self> {
        let argv: Vec<OsString> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let program = argv.first().context("an empty command")?.into();
        let env = environment.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        Self::of(&Start { program, argv, env, input: None })
    }

    /// A start, in the form in which the kernel wants it.
    pub fn of(start: &Start) -> Result<Self> {
        let c = |bytes: &[u8]| CString::new(bytes).context("a zero byte in a command");
        let argv = start.argv.iter().map(|word| c(word.as_bytes())).collect::<Result<Vec<_>>>()?;
        let variable =
            |(name, value): &(OsString, OsString)| c(&[name.as_bytes(), b"=", value.as_bytes()].concat());
        let envp = start.env.iter().map(variable).collect::<Result<Vec<_>>>()?;
        Ok(Self { program: c(start.program.as_os_str().as_bytes())?, argv, envp, status: 0 })
    }

    /// Runs it once, and returns how it ended; from now on it has to end so.
    pub fn try_out(&mut self, input: Option<&Path>) -> Result<Ending> {
        let mut spawner = Spawner::new(input.unwrap_or(Path::new("/dev/null")))?;
        let ending = spawner.start(self)?;
        self.status = ending.status;
        Ok(ending)
    }
}

/// How one run went: times in microseconds from just before the start.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// To the exit.
    pub exit: f64,
    /// To the mark in main, if the program sets one.
    pub mark: Option<f64>,
    /// What wait returned.
    pub status: i32,
}

/// The times of one target, in microseconds, round by round.
#[derive(Debug, Default)]
pub struct Times {
    /// To the exit.
    pub exits: Vec<f64>,
    /// To the mark in main; empty if the program sets none.
    pub marks: Vec<f64>,
}

impl Times {
    /// From just before the start to the exit.
    pub fn exit(&self) -> Option<Summary> {
        Summary::of(&self.exits)
    }
}

/// Runs all targets in turn, `rounds` times after a warm-up, with `input` as their standard input.
pub fn run(targets: &[Target], rounds: usize, input: Option<&Path>) -> Result<Vec<Times>> {
    let mut spawner = Spawner::new(input.unwrap_or(Path::new("/dev/null")))?;
    let mut times: Vec<Times> = targets.iter().map(|_| Times::default()).collect();
    let warm_up = (rounds / 20).clamp(1, 10);
    // The same in each run of the benchmark.
    let mut random = fastrand::Rng::with_seed(0);
    let mut order: Vec<usize> = (0..targets.len()).collect();
    for round in 0..rounds + warm_up {
        random.shuffle(&mut order);
        for &which in &order {
            let target = &targets[which];
            let Ending { exit, mark, status } = spawner.start(target)?;
            if status != target.status {
                bail!("{:?} ended with wait status {status:#x}, not {:#x}", target.argv, target.status);
            }
            if round >= warm_up {
                times[which].exits.push(exit);
                times[which].marks.extend(mark);
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

    /// Starts a target and waits for its end.
    fn start(&mut self, target: &Target) -> Result<Ending> {
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
            let program = target.program.as_ptr();
            libc::posix_spawn(&mut pid, program, &actions.0, std::ptr::null(), argv.as_ptr(), envp.as_ptr())
        };
        if error != 0 {
            let error = std::io::Error::from_raw_os_error(error);
            return Err(error).with_context(|| format!("cannot start {:?}", target.program));
        }
        // SAFETY: `pid` is our child, and `status` is a place for one integer.
        while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                return Err(error).context("cannot wait for a target");
            }
        }
        let end = now();
        let mut mark = [0; 16];
        // The pipe does not block: a program that sets no mark leaves it empty.
        let mark = match self.mark_in.read(&mut mark) {
            Ok(16) => {
                let word = |at: usize| i64::from_ne_bytes(std::array::from_fn(|byte| mark[at + byte]));
                Some((word(0) as f64 * 1e9 + word(8) as f64 - begin) / 1e3)
            }
            _ => None,
        };
        Ok(Ending { exit: (end - begin) / 1e3, mark, status })
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
