//! Which of a learner's requests are heard: whoever asks is not trusted, and the same program is not built again and again.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ld_morsel::image::file_name;
use ld_morsel::image::request::Request;
use ld_morsel::sys::{self, FileIdentity, FileStamp, FileStatus};

use crate::image::{self, Circumstances};

/// Of so many programs it is remembered when they were built.
const MOST_PROGRAMS: usize = 4096;

/// A regular file, in `st_mode`.
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
/// Others than the owner may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// An image to be built.
#[derive(Debug)]
pub struct Order {
    /// The program.
    pub program: PathBuf,
    /// Under which circumstances it has been started.
    pub circumstances: Circumstances,
    file: FileStamp,
}

/// What there is to remember of requests.
pub struct Requests {
    directory: PathBuf,
    everyone: bool,
    interval: Duration,
    retry: Duration,
    builds: HashMap<FileIdentity, Build>,
}

/// When a program was built last, and how.
struct Build {
    at: Instant,
    failed: bool,
    circumstances: Circumstances,
    file: FileStamp,
}

impl Requests {
    /// Requests for images in `directory`; `everyone` may make them. The same program waits for `interval`, one that could not be
    /// built for `retry` or until it changes.
    pub fn new(directory: PathBuf, everyone: bool, interval: Duration, retry: Duration) -> Self {
        Self { directory, everyone, interval, retry, builds: HashMap::new() }
    }

    /// Whether to build what a request asks for.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, request: &Request<'_>, now: Instant) -> Result<Order> {
        let FileStatus { stamp, owner, mode } =
            sys::file_status(request.program).map_err(|errno| image::told(sys::errno_text(errno)))?;
        let program = PathBuf::from(OsStr::from_bytes(request.program.to_bytes()));
        if !program.is_absolute() || mode & S_IFMT != S_IFREG {
            bail!("ignored: not an absolute path of a file");
        }
        if stamp.identity != request.identity {
            bail!("ignored: another file than the one that was started");
        }
        let text = |text: Option<&CStr>| text.map(|text| OsStr::from_bytes(text.to_bytes()).to_owned());
        let Request { library_path, preload, libc, .. } = *request;
        let circumstances = Circumstances {
            library_path: text(library_path),
            preload: text(preload),
            libc: text(libc),
            ..Circumstances::default()
        };
        if self.everyone && circumstances != Circumstances::default() {
            bail!("ignored: started with LD_LIBRARY_PATH, LD_PRELOAD or LD_MORSEL_LIBC");
        }
        if self.everyone && (owner != 0 || mode & WRITABLE_BY_OTHERS != 0) {
            bail!("ignored: not a program of root's alone");
        }
        let order = Order { program, circumstances, file: stamp };
        self.not_too_soon(&order, now)?;
        let path = self.directory.join(file_name(stamp.identity));
        match image::state(&path, &order.circumstances) {
            Ok(()) => bail!("there is an image that may be used"),
            Err(_) => Ok(order),
        }
    }

    fn not_too_soon(&self, order: &Order, now: Instant) -> Result<()> {
        let Some(build) = self.builds.get(&order.file.identity) else { return Ok(()) };
        let age = now.saturating_duration_since(build.at);
        if age < self.interval {
            bail!("ignored: built {} seconds ago", age.as_secs());
        }
        let same = build.file == order.file && build.circumstances == order.circumstances;
        if build.failed && same && age < self.retry {
            bail!("ignored: it could not be built, and has not changed");
        }
        Ok(())
    }

    /// Remembers a build.
    pub fn remember(&mut self, order: &Order, succeeded: bool, at: Instant) {
        if self.builds.len() >= MOST_PROGRAMS {
            // Whoever makes us forget this way only makes us build again.
            self.builds.clear();
        }
        let Order { circumstances, file, .. } = order;
        let build = Build { at, failed: !succeeded, circumstances: circumstances.clone(), file: *file };
        self.builds.insert(file.identity, build);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const RETRY: Duration = Duration::from_secs(1000);

    fn requests(everyone: bool) -> Requests {
        Requests::new(PathBuf::from("/nonexistent"), everyone, INTERVAL, RETRY)
    }

    fn request(program: &CStr) -> Request<'_> {
        let identity = sys::file_status(program).map(|status| status.stamp.identity);
        let identity = identity.unwrap_or(FileIdentity { device: 0, inode: 0 });
        Request { program, identity, library_path: None, preload: None, libc: None }
    }

    fn refusal(requests: &Requests, request: &Request<'_>, now: Instant) -> String {
        requests.judge(request, now).expect_err("it is refused").to_string()
    }

    #[test]
    fn only_the_file_that_was_started_is_built() {
        let (requests, now) = (requests(false), Instant::now());
        assert!(requests.judge(&request(c"/proc/self/exe"), now).is_ok());
        let other = Request { program: c"/bin/sh", ..request(c"/proc/self/exe") };
        assert!(refusal(&requests, &other, now).contains("another file"));
        assert!(refusal(&requests, &request(c"/dev/zero"), now).contains("not an absolute path of a file"));
        assert!(refusal(&requests, &request(c"/tmp"), now).contains("not an absolute path of a file"));
        assert!(refusal(&requests, &request(c"/nonexistent"), now).contains("No such file"));
    }

    #[test]
    fn strangers_cannot_say_under_which_circumstances() {
        let requests = requests(true);
        let request = Request { library_path: Some(c"/tmp"), ..request(c"/bin/sh") };
        assert!(refusal(&requests, &request, Instant::now()).contains("LD_LIBRARY_PATH"));
    }

    #[test]
    fn what_was_built_waits_and_what_failed_waits_longer() {
        let (mut requests, now) = (requests(false), Instant::now());
        let request = request(c"/bin/sh");
        let order = requests.judge(&request, now).expect("it is heard");
        requests.remember(&order, true, now);
        assert!(refusal(&requests, &request, now + INTERVAL / 2).contains("seconds ago"));
        assert!(requests.judge(&request, now + INTERVAL).is_ok());
        requests.remember(&order, false, now);
        assert!(refusal(&requests, &request, now + INTERVAL).contains("could not be built"));
        let other = Request { preload: Some(c"libx.so"), ..request.clone() };
        assert!(requests.judge(&other, now + INTERVAL).is_ok());
        assert!(requests.judge(&request, now + RETRY).is_ok());
        // A program that has changed.
        let changed = Order { file: FileStamp { modified: 1, ..order.file }, ..order };
        requests.remember(&changed, false, now);
        assert!(requests.judge(&request, now + INTERVAL).is_ok());
    }
}
