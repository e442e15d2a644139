//! Runs the kernel module's own tests (`kernel/tests`) in a guest.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::guest::{Guest, quote};
use super::kernel::{Flavour, Kernel};
use super::module::Build;
use crate::jobs::corpus::Tally;
use crate::proc;

/// Builds the module and its tests, boots the kernel and runs `run-in-guest.sh`, whose output is shown if `echo`.
/// `filter` is part of the names of the tests to run.
pub fn run(flavour: Flavour, filter: Option<&str>, echo: bool) -> Result<Tally> {
    let kernel = Kernel::provide(flavour)?;
    let build = Build::module(&kernel)?;
    let tests = build.tests()?;
    let filter = filter.map(quote).unwrap_or_default();
    let script = format!("cd /kernel/tests && exec sh run-in-guest.sh {filter}");
    let mut guest = Guest::new("module-tests", &kernel, &script);
    guest.files.copy("kernel/tests", &tests)?;
    if let Some(module) = build.file() {
        guest.files.copy("kernel/morsel.ko", &module)?;
    }
    guest.modules = &["overlay", "fuse"];
    guest.memory = 2048;
    // KASAN and lockdep cost most of the time.
    guest.limit = Duration::from_secs(if flavour == Flavour::Debug { 2400 } else { 900 });
    guest.echo = echo;
    let ended = guest.run()?;
    let counts = ended.output.lines().rev().find_map(counts);
    let tally = counts.with_context(|| {
        format!("the module's tests printed no result; they end:\n{}", proc::tail(&ended.output, 15))
    })?;
    if ended.status != 0 && tally.failed == 0 {
        bail!("no test failed, but run-in-guest.sh ended with status {}", ended.status);
    }
    if tally.passed + tally.failed == 0 {
        bail!("the module's tests ran no test");
    }
    Ok(tally)
}

/// The counts in `MORSEL-TESTS: N passed, M failed`.
fn counts(line: &str) -> Option<Tally> {
    let (passed, failed) = line.trim().strip_prefix("MORSEL-TESTS: ")?.split_once(" passed, ")?;
    Some(Tally { passed: passed.parse().ok()?, failed: failed.strip_suffix(" failed")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn counts_are_read_from_the_last_line() {
        let tally = counts("MORSEL-TESTS: 12 passed, 3 failed\r").unwrap();
        assert_eq!((tally.passed, tally.failed), (12, 3));
        assert!(counts("ok 1").is_none());
    }
}
