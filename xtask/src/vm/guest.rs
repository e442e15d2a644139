//! Boots a kernel with an initrd and a disk, runs a shell script in it, and returns what the script wrote and how it
//! ended. Whatever the kernel complains of is an error, as is an end without the script's.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::initrd::Initrd;
use super::kernel::Kernel;
use super::{Scratch, console, disk, target};
use crate::{proc, ui};

const BUSYBOX: &str = "/bin/busybox";

/// What every guest loads: its disk's driver.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk"];

/// A guest to boot.
pub struct Guest<'a> {
    /// Its name, for messages and log files.
    pub name: &'a str,
    /// What it boots.
    pub kernel: &'a Kernel,
    /// Names of the kernel's own modules to load beside those for the disk.
    pub modules: &'a [&'a str],
    /// What is in its first file system beside busybox. Its script's working directory is /.
    pub files: Initrd,
    /// What is on its disk, which is mounted at /disk; an empty one otherwise.
    pub disk: Option<&'a Path>,
    /// What it runs: busybox's shell, whose output is the guest's.
    pub script: &'a str,
    /// How many processors; one where instructions are counted.
    pub processors: u32,
    /// Its memory in MiB.
    pub memory: u32,
    /// Whether its clock counts instructions: a nanosecond for each.
    pub icount: bool,
    /// Further words of the kernel's command line.
    pub parameters: &'a str,
    /// How long it may take.
    pub limit: Duration,
    /// Whether its output is shown as it comes.
    pub echo: bool,
}

/// How a script ended.
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// Its output, standard error included.
    pub output: String,
    /// The kernel's messages.
    pub console: PathBuf,
}

impl<'a> Guest<'a> {
    /// A guest with two processors, 1 GiB of memory and five minutes.
    pub fn new(name: &'a str, kernel: &'a Kernel, script: &'a str) -> Self {
        Self {
            name,
            kernel,
            modules: &[],
            files: Initrd::default(),
            disk: None,
            script,
            processors: 2,
            memory: 1024,
            icount: false,
            parameters: "",
            limit: Duration::from_secs(300),
            echo: false,
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> Result<Ended> {
        let name = format!("{} ({})", self.name, self.kernel.flavour.name());
        let scratch = Scratch::create(self.name)?;
        let begin = Instant::now();
        let ended = self.run_in(&scratch.0, &name).with_context(|| format!("guest {name}"))?;
        ui::note(format!(
            "guest {name}: {}; console: {}",
            ui::duration(begin.elapsed()),
            ended.console.display()
        ));
        Ok(ended)
    }

    fn run_in(mut self, scratch: &Path, name: &str) -> Result<Ended> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Unlike anything that a script prints.
        let end_mark = format!("guest-ended-{:x}", since.as_nanos());
        let (initrd, image) = (scratch.join("initrd"), scratch.join("disk"));
        let log = |what: &str| -> Result<PathBuf> {
            Ok(target("logs")?.join(format!("{}-{}.{what}.log", self.name, self.kernel.flavour.name())))
        };
        let (console, log) = (log("console")?, log("output")?);
        std::mem::take(&mut self.files).complete(&self, &end_mark)?.write(&initrd)?;
        disk::image(&image, self.disk, 1024)?;
        let _ = fs::remove_file(&console);

        let mut qemu = self.qemu(&initrd, &image, &console);
        let text = proc::display(&qemu);
        let spinner = ui::spinner(format!("guest {name}"));
        let mut child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot run `{text}`"))?;
        let stdout = child.stdout.take().context("no output of QEMU")?;
        let (ended, end) = mpsc::channel::<()>();
        let limit = self.limit;
        let pid = child.id() as libc::pid_t;
        let watchdog = thread::spawn(move || {
            let late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if late {
                // SAFETY: kill has no memory effects. Nobody waits for the child before this thread has ended, so
                // that the number is still the child's.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            late
        });
        let mut output = String::new();
        let mut status = None;
        let mut file = fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            file.write_all(&line)?;
            file.write_all(b"\n")?;
            let line = String::from_utf8_lossy(&line);
            // What a script prints last need not end its line.
            let line = match line.split_once(&end_mark) {
                Some((before, code)) => {
                    status = code.trim().parse().ok();
                    before.to_owned()
                }
                None => format!("{line}\n"),
            };
            output += &line;
            if self.echo {
                spinner.suspend(|| print!("{line}"));
            }
        }
        drop(ended);
        let late = watchdog.join().unwrap_or_default();
        let qemu_status = child.wait()?;
        spinner.finish_and_clear();

        let said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
        if let Some(complaint) = console::complaint(&said) {
            bail!("its kernel complained, see {}:\n{complaint}", console.display());
        }
        let last = || format!("{} ends:\n{}", console.display(), proc::tail(&said, 10));
        if late {
            bail!("not done after {}; {}\n{}", ui::duration(limit), proc::tail(&output, 5), last());
        }
        let Some(status) = status else {
            bail!("ended ({}) before its script; {}", proc::describe(qemu_status), last());
        };
        Ok(Ended { status, output, console })
    }

    fn qemu(&self, initrd: &Path, image: &Path, console: &Path) -> Command {
        // A guest must not outlive us, however we end.
        let mut qemu = proc::command("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        // Few machines have five-level page tables. Without cmpxchg16b, because kernels 6.12 came to harm with QEMU
        // 7.2's: stray flags after it, then damaged slab lists and double faults, with no module of ours loaded.
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-cpu", "max,la57=off,cx16=off"]);
        match self.icount {
            // The guest's calendar, too, is the same in each run.
            true => qemu
                .args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"])
                .args(["-rtc", "base=2026-01-01,clock=vm"]),
            false => qemu.args(["-accel", "tcg"]),
        };
        let processors = if self.icount { 1 } else { self.processors };
        qemu.arg("-smp").arg(processors.to_string());
        qemu.arg("-m").arg(self.memory.to_string());
        qemu.arg("-chardev").arg(format!("file,id=console,path={}", console.display()));
        qemu.args(["-serial", "chardev:console", "-chardev", "stdio,id=output,signal=off"]);
        qemu.args(["-serial", "chardev:output"]);
        qemu.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe", image.display()));
        qemu.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(initrd);
        qemu.arg("-append")
            .arg(format!("console=ttyS0 rdinit=/init panic=-1 oops=panic {}", self.parameters));
        qemu
    }
}

/// Quotes a word for the shell.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Initrd {
    /// Adds what every guest has.
    fn complete(mut self, guest: &Guest, end_mark: &str) -> Result<Self> {
        for folder in ["dev", "proc", "sys", "tmp", "root", "disk", "sbin", "usr/bin", "usr/sbin"] {
            self.folder(folder);
        }
        // The package of Debian 12 and those after it have it in different places, but for this link.
        self.file("bin/busybox", fs::read(BUSYBOX).context("cannot read /bin/busybox")?, 0o755);
        let init = include_str!("init.sh").replace("$END", end_mark);
        self.file("init", init, 0o755);
        self.file("script", guest.script, 0o755);
        let modules = guest.kernel.modules(&[MODULES, guest.modules].concat())?;
        for (number, module) in modules.iter().enumerate() {
            let file = module.file_name().unwrap_or_default().display();
            self.copy(&format!("modules/{number:02}-{file}"), module)?;
        }
        Ok(self)
    }
}
