//! `cargo xtask release`: the tarball for machines without cargo, `dist/ld-morsel-VERSION-x86_64.tar.xz`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::build;
use crate::{apt, paths, proc, ui};

/// What goes into it as it is in the repository.
const DOCUMENTS: [&str; 5] = ["README.md", "DESIGN.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// A completion script for each of these shells, under the name that the shell looks for.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "morselctl"), ("zsh", "_morselctl"), ("fish", "morselctl.fish")];

/// The same as `morselctl install`, for people who look for such a file.
const INSTALL: &str = "#!/bin/sh\n\
# Makes ld-morsel the musl loader of a root directory: ./install.sh --root /\n\
# Undone by: ./morselctl uninstall --root /\n\
exec \"$(dirname \"$0\")/morselctl\" install \"$@\"\n";

/// The job.
pub fn run() -> Result<bool> {
    apt::install(&["binutils", "tar", "xz-utils"])?;
    // Not the loader that LD_MORSEL may name: a release is made of this source.
    let (loader, tool) = (build::release()?, build::tool()?);
    let name = format!("ld-morsel-{}-x86_64", env!("CARGO_PKG_VERSION"));
    let dist = paths::repo().join("dist");
    let dir = dist.join(&name);
    // What an interrupted run left would get into the tarball.
    let _ = fs::remove_dir_all(&dir);
    for sub in ["man", "completions"] {
        fs::create_dir_all(dir.join(sub)).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    for executable in [&loader, &tool] {
        let target = dir.join(executable.file_name().context("no file's name")?);
        // The loader keeps its symbols, for debuggers and profilers; the tool needs none.
        let what = if executable == &loader { "--strip-debug" } else { "--strip-all" };
        proc::output(proc::command("strip").arg(what).arg("-o").arg(&target).arg(executable))?;
    }
    proc::output(proc::command(&tool).arg("man").arg(dir.join("man")))?;
    for (shell, file) in COMPLETIONS {
        let script = proc::output(proc::command(&tool).args(["completions", shell]))?;
        fs::write(dir.join("completions").join(file), script)?;
    }
    for document in DOCUMENTS {
        copy(&paths::repo().join(document), &dir.join(document))?;
    }
    // The hooks and triggers, with their permissions.
    proc::output(
        proc::command("cp").arg("-a").arg(paths::repo().join("packaging")).arg(dir.join("packaging")),
    )?;
    fs::create_dir_all(dir.join("linker-scripts"))?;
    for file in ["morsel.ld", "README.md"] {
        copy(&paths::repo().join("linker-scripts").join(file), &dir.join("linker-scripts").join(file))?;
    }
    fs::write(dir.join("install.sh"), INSTALL)?;
    fs::set_permissions(dir.join("install.sh"), fs::Permissions::from_mode(0o755))?;
    let tarball = dist.join(format!("{name}.tar.xz"));
    pack(&dist, &name, &tarball)?;
    fs::remove_dir_all(&dir)?;
    ui::step(
        "Packed",
        format!("{} ({} KiB)", tarball.display(), fs::metadata(&tarball)?.len().div_ceil(1024)),
    );
    Ok(true)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The same bytes from the same source: entries in order, with the date of the commit, and nobody's.
fn pack(dist: &Path, name: &str, tarball: &Path) -> Result<()> {
    let mut git = proc::command("git");
    let date = proc::output(git.args(["log", "-1", "--format=%ct"]).current_dir(paths::repo()));
    let date = date.map_or_else(|_| "0".to_owned(), |date| date.trim().to_owned());
    let new = tarball.with_extension("new");
    let mut tar = proc::command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+rw"]);
    tar.arg(format!("--mtime=@{date}")).arg("-C").arg(dist).arg("-cJf").arg(&new).arg(name);
    proc::output(&mut tar)?;
    fs::rename(&new, tarball)?;
    Ok(())
}
