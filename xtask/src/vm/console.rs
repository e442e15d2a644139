//! What a guest's kernel said, and whether it is a sign of trouble.

/// How the kernel's complaints begin. A call trace alone is none: an OOM kill and injected faults print one too.
const COMPLAINTS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "kernel BUG at",
    "general protection fault",
    "invalid opcode",
    "double fault",
    "unable to handle",
    "Bad page",
    "Bad rss-counter",
    "INFO: task",
    "INFO: rcu",
    "INFO: possible",
    "INFO: trying to register",
    "DEBUG_LOCKS_WARN_ON",
    "DEBUG: ",
    "UBSAN:",
    "refcount_t:",
    "non-zero pgtables_bytes",
    "soft lockup",
    "stack guard page was hit",
];

/// The first complaint in the console's text, with a few lines after it.
pub fn complaint(console: &str) -> Option<String> {
    let lines: Vec<_> = console.lines().collect();
    let first = lines.iter().position(|line| {
        let message = message(line);
        // User programs that fault are not the kernel's fault.
        !message.starts_with("traps:") && COMPLAINTS.iter().any(|complaint| message.contains(complaint))
    })?;
    let end = lines.len().min(first + 12);
    Some(lines[first..end].join("\n"))
}

/// A line without its time stamp.
fn message(line: &str) -> &str {
    let stamped = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("] "));
    stamped.map_or(line, |(_, message)| message)
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn complaints_of_the_kernel_are_seen() {
        for line in [
            "[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "[    2.000000] WARNING: CPU: 0 PID: 1 at mm/memory.c:1 f+0x1/0x2",
            "[    2.000000] Kernel panic - not syncing: Attempted to kill init!",
            "[    2.000000] WARNING: possible circular locking dependency detected",
            "[    2.000000] BUG: KASAN: use-after-free in f+0x1/0x2",
            "[    2.000000] INFO: task x:1 blocked for more than 120 seconds.",
        ] {
            let console = format!("[    0.000000] Linux version 6.1\n{line}\nmore\n");
            assert_eq!(complaint(&console), Some(format!("{line}\nmore")));
        }
    }

    #[test]
    fn ordinary_messages_and_faults_of_programs_are_none() {
        for line in [
            "[    0.000000] Linux version 6.1.0 (debian-kernel@lists.debian.org)",
            "[    1.000000] traps: a[9] general protection fault ip:1 sp:2 error:0 in a[3+4]",
            "[    1.000000] x[9]: segfault at 0 ip 1 sp 2 error 4 in x[3+4]",
            "[    1.000000] morsel: ready",
        ] {
            assert_eq!(complaint(line), None);
        }
    }
}
