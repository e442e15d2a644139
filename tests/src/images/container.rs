//! The folder of a fixture as a container would have it: other files with the same paths and contents, behind an overlay, which only
//! processes of a mount namespace see.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::run::{Ending, Outcome, run};
use crate::scratch::Scratch;

/// Copies the tree at `$1` by `cp $2` to a file system of its own at `$3`, puts an overlay of it over the tree, and keeps the
/// namespace until its input ends.
const SCRIPT: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs none "$3"
mkdir "$3/lower" "$3/upper" "$3/work"
cp "$2" "$1/." "$3/lower"
# What has just been written cannot be relied upon yet.
sleep 0.1
mount -t overlay -o "lowerdir=$3/lower,upperdir=$3/upper,workdir=$3/work" overlay "$1"
echo ready
read -r end || true
"#;

/// See the module.
pub struct Container {
    keeper: Child,
    _stage: Scratch,
}

impl Container {
    /// Unpacks the tree by `cp` with this option.
    pub fn new(tree: &Path, copy: &str) -> Self {
        let stage = Scratch::new().expect("a scratch folder");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT, "container"]).arg(tree).arg(copy).arg(stage.path());
        let mut keeper =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare (util-linux)");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("the script's output");
        assert_eq!(line, "ready\n", "no container: are the tests run as root?");
        Self { keeper, _stage: stage }
    }

    /// The command that runs `program` in the container.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id())).arg(program);
        command
    }

    /// Runs a shell script in the container, which succeeds.
    #[track_caller]
    pub fn shell(&self, script: &str) -> Outcome {
        let mut command = self.command(Path::new("sh"));
        let outcome = run(command.args(["-ec", script]), Duration::from_secs(60)).expect("sh");
        assert!(outcome.ending == Ending::Exit(0), "{script}: {outcome:?}");
        outcome
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Its input ends.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
