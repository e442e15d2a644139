//! Mount namespaces in which another file is where musl's loader is. Nothing outside of them sees it, and they end with
//! the command that runs in them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::{paths, proc};

/// A command for which `loader` is musl's loader. Needs root.
pub fn with_loader(loader: &Path, program: &OsStr) -> Command {
    // unshare makes the new namespace's mounts private: none of this reaches the machine.
    let mut command = proc::command("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh"]);
    command.arg(loader).arg(paths::STOCK).arg(program);
    command
}
