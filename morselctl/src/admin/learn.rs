//! `morselctl learn`: builds the images that starts have missed. The loader tells of a miss by one datagram to the socket that
//! `LD_MORSEL_LEARN` names; builds run one at a time, at low priority, each in a process of its own.
//!
//! Whoever may write to the socket is not trusted: a datagram is only ever a request to build the image of a file that we can
//! read (`requests` decides which are heard), and what the build of a strange file does to memory or time ends with that process.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ld_morsel::image::request::{LONGEST, Request};
use rustix::process::{Resource, Rlimit, geteuid, nice, setrlimit};
use wait_timeout::ChildExt;

use super::requests::{Order, Requests};
use crate::image;

/// The niceness of builds: the lowest priority.
const NICENESS: i32 = 19;
/// What a build may take at most: bytes of address space, and time.
const MOST_MEMORY: u64 = 8 << 30;
const MOST_TIME: Duration = Duration::from_secs(120);

/// Options of the subcommand.
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen [default: /run/ld-morsel/learn for root, else $XDG_RUNTIME_DIR/ld-morsel/learn]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    socket: Option<PathBuf>,
    /// The directory of the images; default: where `build` puts them
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    into: Option<PathBuf>,
    /// End when one request has been dealt with
    #[arg(long, conflicts_with = "idle")]
    once: bool,
    /// End when nobody has asked for anything for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    idle: Option<u64>,
    /// Do not build for the same program again for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    interval: u64,
    /// Do not try again for so many seconds what could not be built, unless the program has changed
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    retry: u64,
    /// Listen to all users, but only for root's programs, started without LD_LIBRARY_PATH and the like
    #[arg(long)]
    everyone: bool,
}

/// The subcommand.
pub fn run(args: &Args) -> Result<()> {
    let path = args.socket.clone().map_or_else(usual_socket, Ok)?;
    let directory = args.into.clone().map_or_else(image::usual_place, Ok)?;
    image::make_directory(&directory)?;
    let socket = listen(&path, args.everyone)?;
    socket.set_read_timeout(args.idle.map(Duration::from_secs)).context("cannot limit the wait")?;
    lower_priority()?;
    let (interval, retry) = (Duration::from_secs(args.interval), Duration::from_secs(args.retry));
    let mut requests = Requests::new(directory.clone(), args.everyone, interval, retry);
    println!("listening at {}, images go into {}", path.display(), directory.display());
    // One byte more, so that what is too long is seen to be.
    let mut buffer = vec![0; LONGEST + 1];
    loop {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        match Request::parse(&buffer[..length]) {
            None => eprintln!("morselctl: a datagram of {length} bytes that is no request"),
            Some(request) => answer(&request, &mut requests, &directory),
        }
        if args.once {
            break;
        }
    }
    fs::remove_file(&path).with_context(|| path.display().to_string())
}

/// Does what a request asks for, if it is to be heard.
fn answer(request: &Request<'_>, requests: &mut Requests, directory: &Path) {
    match requests.judge(request, Instant::now()) {
        Err(reason) => println!("{}: {reason:#}", request.program.to_string_lossy()),
        Ok(order) => {
            let result = build(&order, directory);
            requests.remember(&order, result.is_ok(), Instant::now());
            match result {
                Ok(said) => print!("{said}"),
                Err(error) => eprintln!("morselctl: {error:#}"),
            }
        }
    }
}

/// Builds in another process; returns what that has to say.
fn build(order: &Order, directory: &Path) -> Result<String> {
    let program = order.program.display();
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let mut command = Command::new(own);
    command.arg("build").arg("--into").arg(directory);
    command.args(image::circumstances_as_arguments(&order.circumstances)).arg("--").arg(&order.program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{program}: cannot build"))?;
    let ended = child.wait_timeout(MOST_TIME).with_context(|| format!("{program}: cannot build"))?;
    if ended.is_none() {
        child.kill().with_context(|| format!("{program}: cannot stop the build"))?;
    }
    // It says a line or two, which a pipe holds.
    let output = child.wait_with_output().with_context(|| format!("{program}: cannot build"))?;
    if ended.is_none() {
        bail!("{program}: not built within {} seconds", MOST_TIME.as_secs());
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().next().and_then(|line| line.strip_prefix("morselctl: "));
        bail!(
            "{}",
            reason.map_or_else(|| format!("{program}: the build ended by {}", output.status), str::to_owned)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// For this process, and those that it starts.
fn lower_priority() -> Result<()> {
    let told = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
    nice(NICENESS).map_err(told).context("cannot lower the priority")?;
    let limit = Rlimit { current: Some(MOST_MEMORY), maximum: Some(MOST_MEMORY) };
    setrlimit(Resource::As, limit).map_err(told).context("cannot limit memory")
}

/// Where a learner listens unless it is told otherwise.
fn usual_socket() -> Result<PathBuf> {
    let directory = match geteuid().is_root() {
        true => PathBuf::from("/run"),
        false => {
            std::env::var_os("XDG_RUNTIME_DIR").context("XDG_RUNTIME_DIR is not set: use --socket")?.into()
        }
    };
    let directory = directory.join("ld-morsel");
    let made = DirBuilder::new().recursive(true).mode(0o755).create(&directory);
    made.with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory.join("learn"))
}

/// A socket at `path`, in the place of one that a learner left who does not listen any more.
fn listen(path: &Path, everyone: bool) -> Result<UnixDatagram> {
    let told = || path.display().to_string();
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            bail!("{}: there is a file that is no socket", told());
        }
        let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
        match connected {
            Ok(()) => bail!("{}: somebody listens there already", told()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).with_context(told)?
            }
            Err(error) => return Err(error).with_context(told),
        }
    }
    let bind = || -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::bind(path)?;
        // Until now the usual mask has kept others from writing.
        fs::set_permissions(path, Permissions::from_mode(if everyone { 0o666 } else { 0o600 }))?;
        Ok(socket)
    };
    bind().with_context(|| format!("cannot listen at {}", path.display()))
}
