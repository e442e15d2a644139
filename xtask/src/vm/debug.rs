//! The debug kernel: Debian 12's Linux source in a small configuration (`debug.config`) with the memory
//! management's own checks, KASAN, lockdep and fault injection. The module is built in: where lockdep makes the
//! split page-table locks large they are allocated, and what allocates them is not exported to modules.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::buildroot::BuildRoot;
use super::{cache, lock, module, target};
use crate::{paths, proc, ui};

const CONFIG: &str = include_str!("debug.config");

const PACKAGES: &[&str] = &[
    "linux-source-6.1",
    "gcc",
    "libc6-dev",
    "flex",
    "bison",
    "bc",
    "perl",
    "gzip",
    "tar",
    "xz-utils",
    "libelf-dev",
    "libssl-dev",
];

/// Where the module goes in the kernel's tree.
const BUILT_IN: &str = "drivers/misc/morsel";

/// No module can be loaded into this kernel: what else would select the notifiers that it uses is not configured.
const KCONFIG: &str = "config MORSEL\n\tbool \"Shared page tables\"\n\tselect MMU_NOTIFIER\n";

/// Builds the kernel unless this clone has one with its present module, and returns what to boot.
pub fn provide() -> Result<(BuildRoot, PathBuf)> {
    let root = BuildRoot::provide("debug", "bookworm", PACKAGES)?;
    let sources = module::sources(false)?;
    let mut parts = vec![CONFIG.to_owned(), KCONFIG.to_owned()];
    for source in &sources {
        parts.push(source.display().to_string());
        let content = fs::read(paths::repo().join("kernel").join(source))?;
        parts.push(String::from_utf8_lossy(&content).into_owned());
    }
    let key = paths::content_key(&parts.iter().map(String::as_str).collect::<Vec<_>>());
    let image = target("debug")?.join("bzImage");
    let stamp = image.with_extension("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == key) {
        return Ok((root, image));
    }
    let begin = Instant::now();
    let _lock = lock()?;
    let tree = cache()?.join("debug/linux");
    let log = target("logs")?.join("debug-kernel.log");
    let spinner = ui::spinner(format!("building the debug kernel (minutes; {})", log.display()));
    let built = unpack(&root, &tree)
        .and_then(|()| insert_module(&sources, &tree))
        .and_then(|()| build(&root, &tree, &log));
    spinner.finish_and_clear();
    built.context("cannot build the debug kernel")?;
    fs::copy(tree.join("arch/x86/boot/bzImage"), &image)?;
    fs::write(stamp, key)?;
    ui::step("Built", format!("the debug kernel in {}", ui::duration(begin.elapsed())));
    Ok((root, image))
}

fn unpack(root: &BuildRoot, tree: &Path) -> Result<()> {
    let done = tree.join(".unpacked");
    if done.exists() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(tree);
    fs::create_dir_all(tree)?;
    let mut tar = root.command(tree, "tar");
    proc::output(tar.args(["-xf", "/usr/src/linux-source-6.1.tar.xz", "--strip-components=1"]))?;
    for (file, line) in [
        ("drivers/misc/Kconfig", format!("source \"{BUILT_IN}/Kconfig\"")),
        ("drivers/misc/Makefile", "obj-$(CONFIG_MORSEL) += morsel/".to_owned()),
    ] {
        let path = tree.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Before the `endmenu` that closes the Kconfig; a makefile does not mind where.
        let text = match text.rfind("endmenu") {
            Some(end) => format!("{}{line}\n{}", &text[..end], &text[end..]),
            None => format!("{text}{line}\n"),
        };
        fs::write(&path, text)?;
    }
    Ok(fs::write(done, "")?)
}

/// Puts the module's sources into the tree.
fn insert_module(sources: &[PathBuf], tree: &Path) -> Result<()> {
    let dir = tree.join(BUILT_IN);
    module::mirror(sources, &dir, |file, content| {
        match file.ends_with("Kbuild") || file.ends_with("Makefile") {
            true => String::from_utf8_lossy(&content).replace("obj-m", "obj-y").into_bytes(),
            false => content,
        }
    })?;
    let kconfig = dir.join("Kconfig");
    fs::write(&kconfig, KCONFIG).with_context(|| format!("cannot write {}", kconfig.display()))
}

fn build(root: &BuildRoot, tree: &Path, log: &Path) -> Result<()> {
    let fragment = tree.join("debug.config");
    if !fs::read_to_string(&fragment).is_ok_and(|text| text == CONFIG) {
        fs::write(&fragment, CONFIG)?;
        proc::logged(root.command(tree, "make").arg("tinyconfig"), log)?;
        let mut merge = root.command(tree, "scripts/kconfig/merge_config.sh");
        proc::logged(merge.args(["-m", ".config", "debug.config"]), log)?;
    }
    proc::logged(root.command(tree, "make").arg("olddefconfig"), log)?;
    let config = fs::read_to_string(tree.join(".config"))?;
    let mut ignored = String::new();
    for line in CONFIG.lines().filter(|line| line.starts_with("CONFIG_")) {
        if !config.lines().any(|set| set == line) {
            write!(ignored, " {line}")?;
        }
    }
    if !ignored.is_empty() {
        // Not to be taken for a configuration that is as it should be.
        fs::remove_file(fragment)?;
        bail!("these settings had no effect:{ignored}");
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = proc::command("nice");
    let inner = root.command(tree, "make");
    make.args(["-n", "10"]).arg(inner.get_program()).args(inner.get_args());
    proc::logged(make.arg(format!("-j{jobs}")).arg("bzImage"), log)
}
