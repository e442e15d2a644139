//! `cargo xtask chroot`: ld-morsel where musl's loader is, for programs as they are. A root directory in which it is
//! installed, used and removed again; the corpus' programs and the differential suite in mount namespaces where a fused
//! file is `/lib/ld-musl-x86_64.so.1`. The machine's own is never touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::build;
use super::corpus::Tally;
use crate::corpus::manifest::{Case, Kind, Manifest, Musl};
use crate::corpus::{self, cases, packages};
use crate::proc::Outcome;
use crate::{jobs, namespace, paths, proc, ui};

/// Options of the job.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the differential suite out
    #[arg(long)]
    no_suite: bool,
    /// Only those tests of the differential suite whose name contains this text
    #[arg(long)]
    filter: Option<String>,
}

/// What runs in the root directory, by a shell that is a musl program too.
const PROGRAMS: [&str; 5] = ["bash", "sqlite3", "lua", "zstd", "xz"];
/// The packages that they come from.
const PACKAGES: [&str; 5] = ["bash", "sqlite3", "lua", "zstd", "xz"];
const SCRIPT: &str = r#"
PATH=/bin
sqlite3 :memory: 'select 6*7'
lua -e 'print(("musl"):rep(2, "-"))'
echo text | zstd -c | zstd -d -c
echo text | xz -c | xz -d -c
for i in 1 2; do (exit $i) & done; wait; echo $(echo nested)
"#;
const EXPECTED: &str = "42\nmusl-musl\ntext\ntext\nnested\n";

/// How long the script may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The job.
pub fn run(args: &Args) -> Result<bool> {
    jobs::setup::everything()?;
    let loader = build::loader()?;
    let mut tally = installation(&loader)?;
    let later = [
        programs(&loader)?,
        if args.no_suite { Tally::default() } else { suite(&loader, args.filter.as_deref())? },
    ];
    for part in later {
        tally.passed += part.passed;
        tally.failed += part.failed;
    }
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Installs into a root directory, runs programs in it, and takes it back.
pub fn installation(loader: &Path) -> Result<Tally> {
    ui::heading("a root directory");
    packages::provide(&Manifest::read()?, PACKAGES)?;
    let root = paths::cache()?.join("chroot");
    make_root(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let tool = build::tool()?;
    let morselctl = |job: &str| {
        let mut command = proc::command(&tool);
        command.arg(job).arg("--root").arg(&root);
        if job == "install" {
            command.arg("--loader").arg(loader);
        }
        proc::output(&mut command)
    };
    let mut tally = Tally::default();
    let mut check = |what: &str, result: Result<()>| {
        tally.count(result.is_ok());
        println!("{what}: {}", ui::verdict(result.is_ok()));
        if let Err(error) = result {
            println!("  {error:#}");
        }
    };
    check("stock musl", inside(&root, false));
    check("installed", morselctl("install").and_then(|_| inside(&root, true)));
    check("installed again", morselctl("install").and_then(|_| inside(&root, true)));
    check(
        "removed",
        morselctl("uninstall").and_then(|_| inside(&root, false)).and_then(|()| is_stock(&root)),
    );
    fs::remove_dir_all(&root)?;
    Ok(tally)
}

/// The quick cases of the corpus in a mount namespace.
pub fn programs(loader: &Path) -> Result<Tally> {
    ui::heading("real programs in the place of musl's loader");
    let manifest = Manifest::read()?;
    let chosen: Vec<&Case> =
        manifest.cases.iter().filter(|case| case.quick && case.kind != Kind::Bench).collect();
    packages::provide(&manifest, chosen.iter().flat_map(|case| case.needs.iter().map(String::as_str)))?;
    let fused = [fused(loader, Musl::V1_2_3)?, fused(loader, Musl::V1_2_5)?];
    let mut tally = Tally::default();
    let mut table = ui::Table::new(&["case", "stock", "installed"]);
    for case in chosen {
        let mut row = vec![case.name.clone()];
        let fused = &fused[usize::from(case.musl == Musl::V1_2_5)];
        for report in cases::run(case, &cases::Mode::REPLACING, fused, case.musl, None, None)? {
            tally.count(report.failure.is_none());
            row.push(ui::verdict(report.failure.is_none()));
            if let Some(why) = report.failure {
                println!("{} ({}): {why}", case.name, report.mode.name());
            }
        }
        table.row(row);
    }
    table.print();
    Ok(tally)
}

/// The differential suite where the fused file is the system's loader, and also the libc that everything is linked with.
pub fn suite(loader: &Path, filter: Option<&str>) -> Result<Tally> {
    ui::heading("the differential suite in the place of musl's loader");
    let fused = paths::reachable_by_all(&fused(loader, Musl::V1_2_3)?)?;
    let stock = stock_copy()?;
    let cargo = proc::cargo();
    let mut suite = namespace::with_loader(&fused, cargo.get_program());
    suite.current_dir(paths::repo());
    suite.args(["test", "--package", "difftest", "--test", "cases", "--no-fail-fast"]);
    suite.env("LD_MORSEL", paths::STOCK).env("DIFFTEST_STOCK", stock);
    suite.env("DIFFTEST_MUSL125", paths::reachable_by_all(&paths::musl_1_2_5()?)?);
    // What was built for the other way of testing was linked with another libc.so.
    suite.env("DIFFTEST_DIR", paths::repo().join("target/difftest-installed"));
    super::test::tests(&mut suite, filter)
}

/// A root directory like Debian's, with stock musl and some programs.
fn make_root(root: &Path) -> Result<()> {
    // What an interrupted run left.
    let _ = fs::remove_dir_all(root);
    let lib = root.join("usr/lib");
    fs::create_dir_all(lib.join("x86_64-linux-musl"))?;
    symlink("usr/lib", root.join("lib"))?;
    fs::copy(paths::STOCK, lib.join("x86_64-linux-musl/libc.so"))?;
    symlink("x86_64-linux-musl/libc.so", lib.join("ld-musl-x86_64.so.1"))?;
    fs::create_dir_all(root.join("bin"))?;
    let corpus = corpus::dir()?.join("root");
    for program in PROGRAMS {
        fs::copy(corpus.join("bin").join(program), root.join("bin").join(program))?;
    }
    // Without /proc, musl ignores run paths with $ORIGIN: libraries are where it looks by itself.
    for entry in fs::read_dir(corpus.join("lib"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_file() && name.to_string_lossy().contains(".so") {
            fs::copy(&path, lib.join(name))?;
        }
    }
    Ok(())
}

/// Runs the script in `root`. ld-morsel, and only it, writes statistics.
fn inside(root: &Path, by_morsel: bool) -> Result<()> {
    let mut chroot = proc::command("chroot");
    chroot.arg(root).args(["/bin/bash", "--norc", "-c", SCRIPT]);
    chroot.env("LD_MORSEL_STATS", "-");
    let Outcome { end, stdout, stderr } = proc::outcome(&mut chroot, LIMIT)?;
    ensure!(end == "exit 0", "{end}; {}", proc::tail(&stderr, 4));
    ensure!(stdout == EXPECTED, "wrote {stdout:?}");
    ensure!(stderr.contains('{') == by_morsel, "another loader than expected; {}", proc::tail(&stderr, 4));
    Ok(())
}

/// Whether everything is as [`make_root`] made it.
fn is_stock(root: &Path) -> Result<()> {
    let lib = root.join("usr/lib");
    let link =
        fs::read_link(lib.join("ld-musl-x86_64.so.1")).context("the loader's name is no link any more")?;
    ensure!(link == Path::new("x86_64-linux-musl/libc.so"), "the link leads to {}", link.display());
    ensure!(fs::read(root.join("lib").join(&link))? == fs::read(paths::STOCK)?, "libc.so has changed");
    ensure!(!lib.join("ld-morsel").exists(), "something is left in /usr/lib/ld-morsel");
    Ok(())
}

/// The loader fused with a version of libc.
pub fn fused(loader: &Path, musl: Musl) -> Result<PathBuf> {
    let (libc, name) = match musl {
        Musl::V1_2_3 => (PathBuf::from(paths::STOCK), "1.2.3"),
        Musl::V1_2_5 => (paths::musl_1_2_5()?, "1.2.5"),
    };
    let dir = paths::cache()?.join("fused").join(name);
    fs::create_dir_all(&dir)?;
    let file = dir.join("ld-musl-x86_64.so.1");
    let mut fuse = proc::command(build::tool()?);
    proc::output(fuse.arg("fuse").arg(libc).arg("--loader").arg(loader).arg("-o").arg(&file))?;
    Ok(file)
}

/// Stock musl under a name at which nothing will be mounted.
fn stock_copy() -> Result<PathBuf> {
    let copy = paths::cache()?.join("fused/stock/ld-musl-x86_64.so.1");
    fs::create_dir_all(copy.parent().unwrap_or(&copy))?;
    fs::copy(paths::STOCK, &copy)?;
    paths::reachable_by_all(&copy)
}
