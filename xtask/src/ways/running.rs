//! What many running processes of a program hold in memory together. They are held at the mark in `main`, a write to a pipe that
//! takes nothing more; then let go, to use all that they have bound and to run their destructors, and held once more
//! before the kernel takes their memory (PTRACE_EVENT_EXIT).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::workload::Start;

const PAGE: u64 = 4096;

/// How long all processes together may take to reach `main`, or their exit.
const LIMIT: Duration = Duration::from_secs(120);

/// What processes hold, in KiB; of several, the sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Pages that one process has written to, or that nobody else has for another reason.
    pub private_dirty: u64,
    /// Pages of files that nobody else maps.
    pub private_clean: u64,
    /// Pages that several processes map.
    pub shared: u64,
    /// Everything, with shared pages divided by the number of those that map them.
    pub proportional: u64,
    /// Page tables.
    pub page_tables: u64,
}

impl Held {
    fn add(&mut self, other: Self) {
        self.private_dirty += other.private_dirty;
        self.private_clean += other.private_clean;
        self.shared += other.shared;
        self.proportional += other.proportional;
        self.page_tables += other.page_tables;
    }

    /// Of one process (proc(5), smaps_rollup and status).
    fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let (memory, status) = (read("smaps_rollup")?, read("status")?);
        let field = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
            let value = value.and_then(|value| value.trim().parse::<u64>().ok());
            value.with_context(|| format!("the kernel does not tell {name} of process {pid}"))
        };
        Ok(Self {
            private_dirty: field(&memory, "Private_Dirty:")?,
            private_clean: field(&memory, "Private_Clean:")?,
            shared: field(&memory, "Shared_Clean:")? + field(&memory, "Shared_Dirty:")?,
            proportional: field(&memory, "Pss:")?,
            page_tables: field(&status, "VmPTE:")?,
        })
    }
}

/// A process's own pages, in KiB, by what they belong to.
pub type Own = BTreeMap<String, u64>;

/// What processes of a program hold.
#[derive(Debug)]
pub struct Crowd {
    /// In `main`, before the program has done anything.
    pub at_main: Held,
    /// At the exit: each library has used all that it has bound, and run its destructors.
    pub at_exit: Held,
    /// One of them in `main`, in detail.
    pub own: Own,
}

/// Runs so many processes of a synthetic program at the same time.
///
/// # Errors
/// One of them ends early or too late, or cannot be looked at.
pub fn crowd(start: &Start, count: usize) -> Result<Crowd> {
    // Pages that have not reached the disk count as dirty: none is to be left.
    // SAFETY: sync has no preconditions.
    unsafe { libc::sync() };
    let mut gate = Gate::new()?;
    let mut processes = Processes(Vec::new());
    for _ in 0..count {
        processes.0.push(gate.spawn(start)?);
    }
    let pids: Vec<u32> = processes.0.iter().map(Child::id).collect();
    let end = Instant::now() + LIMIT;
    for &pid in &pids {
        wait_for_mark(pid, end)?;
    }
    let at_main = sum(&pids)?;
    let own = own_pages(*pids.first().context("no processes")?)?;
    for &pid in &pids {
        seize(pid)?;
    }
    gate.open(count)?;
    for &pid in &pids {
        wait_for_exit(pid, end)?;
    }
    Ok(Crowd { at_main, at_exit: sum(&pids)?, own })
}

fn sum(pids: &[u32]) -> Result<Held> {
    let mut all = Held::default();
    for &pid in pids {
        all.add(Held::of(pid)?);
    }
    Ok(all)
}

/// Processes that are ended with this value.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended by itself cannot be killed, and need not be. One that is held at its exit cannot either: it
            // is let go.
            let _ = child.kill();
            // SAFETY: touches no memory of ours; fails for a child that is not held.
            unsafe { libc::ptrace(libc::PTRACE_DETACH, child.id(), 0_usize, 0_usize) };
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// A pipe that holds whoever writes the mark into it, until it is opened.
struct Gate {
    exit: File,
    entrance: File,
}

impl Gate {
    const SIZE: usize = PAGE as usize;

    fn new() -> Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return Err(std::io::Error::last_os_error()).context("cannot make a pipe");
        }
        // SAFETY: both descriptors are new, and nobody else's.
        let [exit, mut entrance] = ends.map(|end| unsafe { File::from_raw_fd(end) });
        // SAFETY: F_SETPIPE_SZ takes an integer.
        let size = unsafe { libc::fcntl(entrance.as_raw_fd(), libc::F_SETPIPE_SZ, Self::SIZE) };
        ensure!(size == Self::SIZE as i32, "a pipe of {} bytes is not to be had", Self::SIZE);
        entrance.write_all(&[0; Self::SIZE])?;
        Ok(Self { exit, entrance })
    }

    /// Starts a program that writes its mark into the pipe, and uses what it has bound when it may go on.
    fn spawn(&self, start: &Start) -> Result<Child> {
        let mut command = Command::new(&start.program);
        command.args(start.argv.iter().skip(1)).arg("check");
        command.env_clear().envs(start.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let entrance = self.entrance.as_raw_fd();
        // SAFETY: between fork and exec only dup2 is called, which needs no memory or locks.
        unsafe {
            command.pre_exec(move || match libc::dup2(entrance, 3) {
                3 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        command.spawn().with_context(|| format!("cannot start {}", start.program.display()))
    }

    /// Lets so many processes go on: whoever has room writes, and makes room for the next one when that is read.
    fn open(&mut self, processes: usize) -> Result<()> {
        let mut filling_and_marks = vec![0; Self::SIZE + processes * size_of::<libc::timespec>()];
        self.exit.read_exact(&mut filling_and_marks).context("cannot empty the pipe")
    }
}

/// Waits until a process hangs in its write to descriptor 3.
fn wait_for_mark(pid: u32, end: Instant) -> Result<()> {
    let path = format!("/proc/{pid}/syscall");
    loop {
        let call = fs::read_to_string(&path).with_context(|| format!("process {pid} has not stayed"))?;
        if call.starts_with(&format!("{} 0x3 ", libc::SYS_write)) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "process {pid} does not reach main");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Asks for a stop at a process's exit.
fn seize(pid: u32) -> Result<()> {
    let options = libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL;
    // SAFETY: seizing a child touches no memory of ours.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, options as usize) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).with_context(|| format!("cannot trace process {pid}")),
    }
}

fn wait_for_exit(pid: u32, end: Instant) -> Result<()> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a place for an integer.
        match unsafe { libc::waitpid(pid as libc::pid_t, &mut status, libc::WNOHANG | libc::__WALL) } {
            0 if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
            0 => bail!("process {pid} does not end"),
            -1 => return Err(std::io::Error::last_os_error()).context("cannot wait for a process"),
            _ if status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8 => break,
            _ => bail!("process {pid} stopped with wait status {status:#x}"),
        }
    }
    let mut code: libc::c_ulong = 0;
    // SAFETY: the process is stopped; `code` is where its exit status goes.
    let got = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0_usize, &mut code) };
    ensure!(got == 0 && code == 0, "what process {pid} has bound is not right: exit status {code:#x}");
    Ok(())
}

/// The pages that are a process's own (proc(5), pagemap: present, and neither of a file nor shared).
fn own_pages(pid: u32) -> Result<Own> {
    const PRESENT: u64 = 1 << 63;
    const OF_FILE: u64 = 1 << 61;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
    let mut own = Own::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().and_then(|range| range.split_once('-'));
        let (start, end) = range.with_context(|| format!("/proc/{pid}/maps: {line}"))?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let access = fields.next().unwrap_or_default();
        let name = fields.nth(3).unwrap_or_default();
        if name == "[vsyscall]" {
            // Beyond what pagemap tells of.
            continue;
        }
        let mut entries = vec![0; usize::try_from((end - start) / PAGE * 8)?];
        pagemap.read_exact_at(&mut entries, start / PAGE * 8)?;
        let (words, _) = entries.as_chunks::<8>();
        let pages = words.iter().map(|&word| u64::from_ne_bytes(word));
        let dirty = pages.filter(|entry| entry & (PRESENT | OF_FILE) == PRESENT).count() as u64;
        if dirty > 0 {
            *own.entry(owner(name, access)).or_default() += dirty * PAGE / 1024;
        }
    }
    Ok(own)
}

/// What a mapping belongs to: its file, and for all libraries together "libraries".
fn owner(name: &str, access: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or_default();
    match file {
        // Nobody but our loader has memory of its own that nobody may write to.
        "" if access.starts_with("r--") => "the loader's sealed memory".to_owned(),
        "" => "zeroed data, other memory".to_owned(),
        "main" => "the program".to_owned(),
        // A copy with another interpreter.
        _ if file.starts_with(".main.") => "the program".to_owned(),
        "our" => "the loader's file".to_owned(),
        "libc.so" => "libc".to_owned(),
        _ if name.contains("/images-") => "the image".to_owned(),
        _ if file.starts_with("lib") => "libraries".to_owned(),
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn mappings_have_owners() {
        assert_eq!(owner("/tmp/x/lib001.so", "rw-p"), "libraries");
        assert_eq!(owner("/tmp/x/images-default/fe00-1", "rw-p"), "the image");
        assert_eq!(owner("", "r--p"), "the loader's sealed memory");
        assert_eq!(owner("[stack]", "rw-p"), "[stack]");
    }
}
