//! Counts what a start asks of the kernel, by tracing it (ptrace): system calls and page faults until main and until the
//! exit, and what memory it has dirtied and how many page tables it needs when it reaches main. The address space is
//! laid out the same in every run.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::workload::Start;

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// At the mark in main.
    pub main: Option<Usage>,
    /// At the exit.
    pub exit: Usage,
    /// What the process holds at the mark in main.
    pub memory: Option<Memory>,
}

/// What a process has used since exec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// System calls of all its threads and children.
    pub system_calls: u64,
    /// Page faults, with and without reading from the disk.
    pub page_faults: u64,
}

/// What a process holds, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Pages that it has written to: of files, of the stack, or its own from the beginning. Counted as anonymous: what
    /// `smaps_rollup` calls dirty includes pages of files that the disk has not seen yet.
    pub dirtied: u64,
    /// Its page tables.
    pub page_tables: u64,
}

/// Runs a program to its end, and counts.
pub fn counts(start: &Start) -> Result<Counts> {
    let pid = spawn(start)?;
    let counted = follow(pid);
    if counted.is_err() {
        // SAFETY: kill and wait have no memory effects; `pid` is our child, which has not been waited for.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL);
        }
    }
    counted.with_context(|| format!("cannot trace {}", start.program.display()))
}

/// A command that runs as the start says, with nothing random in its address space and descriptor 3 for the mark. What
/// it writes is not looked at.
pub fn command(start: &Start) -> Result<Command> {
    let mut command = Command::new(&start.program);
    if let Some((name, args)) = start.argv.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(start.env.iter().map(|(name, value)| (name, value)));
    let input = start.input.as_deref().unwrap_or("/dev/null".as_ref());
    let input = File::open(input).with_context(|| format!("cannot open {}", input.display()))?;
    command.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
    let mark = File::options().write(true).open("/dev/null")?;
    // SAFETY: between fork and exec only these system calls are made, which need no memory or locks.
    unsafe {
        command.pre_exec(move || {
            libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
            match libc::dup2(mark.as_raw_fd(), 3) {
                3 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    Ok(command)
}

/// Starts the program, which then stops just after exec.
fn spawn(start: &Start) -> Result<libc::pid_t> {
    let mut command = command(start)?;
    // SAFETY: as above.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0_usize, 0_usize) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let child = command.spawn().with_context(|| format!("cannot start {}", start.program.display()))?;
    // Not `Child`'s: it is waited for below.
    Ok(child.id() as libc::pid_t)
}

fn follow(pid: libc::pid_t) -> Result<Counts> {
    // The children of this thread only: other threads wait for theirs.
    const WAIT: i32 = libc::__WALL | libc::__WNOTHREAD;
    let mut status = 0;
    // SAFETY: `status` is a place for an integer.
    if unsafe { libc::waitpid(pid, &mut status, WAIT) } != pid || !libc::WIFSTOPPED(status) {
        bail!("it did not stop at exec");
    }
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK;
    // SAFETY: the child is stopped; setting options touches no memory.
    if unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0_usize, options as usize) } != 0 {
        return Err(std::io::Error::last_os_error()).context("PTRACE_SETOPTIONS");
    }
    // What was used before exec is the fork's.
    let before = page_faults(pid)?;
    let mut counts = Counts::default();
    let mut system_calls = 0;
    let mut stopped = pid;
    let mut signal = 0;
    loop {
        // SAFETY: continues a stopped child; one that was killed meanwhile gives an error that does not matter.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, stopped, 0_usize, signal as usize) };
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: `status` and `usage` are places for the results.
        stopped = unsafe { libc::wait4(-1, &mut status, WAIT, usage.as_mut_ptr()) };
        if stopped < 0 {
            return Err(std::io::Error::last_os_error()).context("cannot wait for it");
        }
        signal = 0;
        if libc::WIFSTOPPED(status) {
            match libc::WSTOPSIG(status) {
                call if call == libc::SIGTRAP | 0x80 => {
                    if let Some((number, arguments)) = entered(stopped)? {
                        let mark =
                            number == libc::SYS_write as u64 && (arguments[0], arguments[2]) == (3, 16);
                        if mark && counts.main.is_none() {
                            let page_faults = page_faults(pid)? - before;
                            counts.main = Some(Usage { system_calls, page_faults });
                            counts.memory = Some(memory(pid)?);
                        }
                        system_calls += 1;
                    }
                }
                // Events of ours, and the first stop of a new thread or child.
                libc::SIGTRAP | libc::SIGSTOP => {}
                other => signal = other,
            }
        } else if stopped == pid {
            // SAFETY: wait4 has returned a process, and so has filled it in.
            let usage = unsafe { usage.assume_init() };
            let page_faults = (usage.ru_minflt + usage.ru_majflt) as u64 - before;
            counts.exit = Usage { system_calls, page_faults };
            return Ok(counts);
        }
    }
}

/// The number and the arguments of the system call that a stopped thread is about to make; None if it has just made it.
fn entered(thread: libc::pid_t) -> Result<Option<(u64, [u64; 6])>> {
    // struct ptrace_syscall_info: the operation and the architecture, two registers, then, at the entry, the number and
    // the arguments (ptrace(2)).
    const ENTRY: u8 = 1;
    let mut info = [0_u64; 11];
    // SAFETY: the kernel writes at most as many bytes into `info` as it is told.
    let got =
        unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size_of_val(&info), info.as_mut_ptr()) };
    if got < 0 {
        return Err(std::io::Error::last_os_error()).context("PTRACE_GET_SYSCALL_INFO");
    }
    let arguments = std::array::from_fn(|argument| info[4 + argument]);
    Ok((info[0].to_ne_bytes()[0] == ENTRY).then_some((info[3], arguments)))
}

/// Page faults of a process up to now (proc(5), /proc/pid/stat: fields 10 and 12).
fn page_faults(pid: libc::pid_t) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the name in parentheses, may hold anything.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let field = |number: usize| fields.split(' ').nth(number - 3).and_then(|text| text.parse::<u64>().ok());
    field(10).zip(field(12)).map(|(minor, major)| minor + major).context("/proc/pid/stat is not as expected")
}

fn memory(pid: libc::pid_t) -> Result<Memory> {
    let field = |file: &str, name: &str| -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"));
        value
            .and_then(|text| text.trim().parse().ok())
            .with_context(|| format!("no {name} in /proc/pid/{file}"))
    };
    Ok(Memory { dirtied: field("smaps_rollup", "Anonymous:")?, page_tables: field("status", "VmPTE:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_same_each_time() {
        let start = Start::new("/bin/true".as_ref());
        let first = counts(&start).unwrap();
        assert!(first.exit.system_calls > 5 && first.exit.page_faults > 5, "{first:?}");
        assert_eq!(first.main, None);
        assert_eq!(counts(&start).unwrap().exit.system_calls, first.exit.system_calls);
    }
}
