//! Debian packages: which are installed, installing what is missing, and fetching source packages and packages of
//! another release into the cache without touching the machine's own apt configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{paths, proc, ui};

/// Those of `packages` that are not installed. Asks dpkg only: nothing is fetched.
pub fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    if !proc::in_path("dpkg-query") {
        bail!("this is not Debian (no dpkg-query). Needed are: {}", packages.join(" "));
    }
    // dpkg-query fails if it has never heard of one of them; what it says of the others holds all the same.
    let answer = proc::command("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .context("cannot run dpkg-query")?;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let installed = |package: &&str| answer.lines().any(|line| line == format!("{package} installed"));
    Ok(packages.iter().copied().filter(|package| !installed(package)).collect())
}

/// Installs those of `packages` that are missing.
pub fn install(packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    ui::step("Installing", missing.join(" "));
    let mut install = vec!["apt-get", "install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    let spinner = ui::spinner("apt-get".to_owned());
    // With no package lists, or old ones, the first attempt fails.
    let mut installed = proc::output(&mut as_root(&install)?);
    if installed.is_err() {
        proc::output(&mut as_root(&["apt-get", "update", "-qq"])?)?;
        installed = proc::output(&mut as_root(&install)?);
    }
    spinner.finish_and_clear();
    installed.context("cannot install what is missing").map(drop)
}

fn as_root(words: &[&str]) -> Result<Command> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let mut command = match root {
        true => proc::command(words[0]),
        false if proc::in_path("sudo") => {
            let mut sudo = proc::command("sudo");
            sudo.args(["DEBIAN_FRONTEND=noninteractive", words[0]]);
            sudo
        }
        false => bail!(
            "packages are missing, and neither are we root nor is there sudo; as root, run: {}",
            words.join(" ")
        ),
    };
    command.args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

/// An apt that knows one Debian release, with package lists of its own in the cache.
pub struct Release {
    dir: PathBuf,
    suite: &'static str,
}

impl Release {
    /// `suite` is a code name, such as bookworm. Fetches the package lists at first use.
    pub fn open(suite: &'static str) -> Result<Self> {
        let dir = paths::cache()?.join("apt").join(suite);
        let release = Self { dir, suite };
        let fetched = release.dir.join("fetched");
        if !fetched.exists() {
            for sub in ["sources", "lists/partial", "archives/partial"] {
                fs::create_dir_all(release.dir.join(sub))?;
            }
            fs::write(release.dir.join("sources/debian.sources"), release.sources())?;
            ui::step("Fetching", format!("Debian's package lists ({suite})"));
            proc::output(release.apt().arg("update"))
                .with_context(|| format!("cannot fetch the package lists of Debian {suite}"))?;
            fs::write(fetched, "")?;
        }
        Ok(release)
    }

    /// Unpacks a source package and returns the folder with its tree.
    pub fn source(&self, package: &str) -> Result<PathBuf> {
        let dir = self.dir.join("source").join(package);
        let done = dir.join(".unpacked");
        if !done.exists() {
            // What an interrupted attempt left would be taken for the package.
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir)?;
            proc::output(self.apt().args(["source", package]).current_dir(&dir))
                .with_context(|| format!("cannot get Debian's source package {package}"))?;
            fs::write(&done, "")?;
        }
        let mut trees = fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.path()));
        trees.find(|path| path.is_dir()).with_context(|| format!("no tree in {}", dir.display()))
    }

    /// Fetches a binary package and unpacks it into `into`, without installing it.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let dir = self.dir.join("download");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        proc::output(self.apt().args(["download", package]).current_dir(&dir))
            .with_context(|| format!("cannot download {package} of Debian {}", self.suite))?;
        let deb = fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.path()));
        let deb = deb.last().with_context(|| format!("apt-get downloaded no {package}"))?;
        proc::output(proc::command("dpkg-deb").arg("-x").arg(deb).arg(into))?;
        Ok(())
    }

    /// Fetches packages with all that they depend on, as if nothing were installed, and unpacks them into `into`:
    /// enough of a system to run what is in them. No maintainer script runs.
    pub fn unpack_with_needs(&self, packages: &[&str], into: &Path) -> Result<()> {
        let dir = self.dir.join("needs");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("partial"))?;
        let status = dir.join("status");
        fs::write(&status, "")?;
        let mut apt = self.apt();
        apt.arg("-o").arg(format!("Dir::State::status={}", status.display()));
        apt.arg("-o").arg(format!("Dir::Cache::archives={}", dir.display()));
        apt.args(["install", "-y", "--download-only", "--no-install-recommends"]).args(packages);
        proc::output(&mut apt)
            .with_context(|| format!("cannot download {} of Debian {}", packages.join(" "), self.suite))?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                proc::output(proc::command("dpkg-deb").arg("-x").arg(path).arg(into))?;
            }
        }
        Ok(fs::remove_dir_all(&dir)?)
    }

    fn apt(&self) -> Command {
        let mut apt = proc::command("apt-get");
        apt.args(["-qq", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "APT::Sandbox::User=root"]);
        for (option, sub) in
            [("Dir::Etc::sourceparts", "sources"), ("Dir::State::lists", "lists"), ("Dir::Cache", "archives")]
        {
            apt.arg("-o").arg(format!("{option}={}", self.dir.join(sub).display()));
        }
        apt
    }

    fn sources(&self) -> String {
        format!(
            "Types: deb deb-src\nURIs: {}\nSuites: {}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            mirror(),
            self.suite
        )
    }
}

/// The Debian mirror that this machine uses, so that a local one is used here too.
fn mirror() -> String {
    let words = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let deb822 = words("/etc/apt/sources.list.d/debian.sources");
    let uri = deb822.lines().find_map(|line| line.strip_prefix("URIs:")?.split_whitespace().next());
    let one_line = words("/etc/apt/sources.list");
    let word = |line: &'_ str| -> Option<String> {
        let line = line.strip_prefix("deb ")?;
        line.split_whitespace()
            .find(|word| word.contains("://") && word.contains("/debian"))
            .map(str::to_owned)
    };
    let mirror = uri.map(str::to_owned).or_else(|| one_line.lines().find_map(word));
    mirror
        .filter(|uri| !uri.contains("security"))
        .unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}
