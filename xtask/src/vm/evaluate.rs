//! What morsels save and what they cost: mapping and touching regions in every way that the kernel has (`regions`), and
//! starts of programs in these ways (`starts`, `ways`), in instructions, page faults and page tables. The results are tables
//! of `docs/morsels.md` (`compare`), and a file beside it that has every figure of the starts.

mod compare;
mod flames;
mod regions;
mod starts;
mod ways;

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::kernel::{Flavour, Kernel};
use super::module::Build;
use crate::{paths, ui};

/// The part that draws pictures: only where they are written, or asked for.
const FLAMES: &str = "flames";

const PAGE: &str = "docs/morsels.md";
const FIGURES: &str = "docs/morsels-starts.json";

/// How to measure.
pub struct Options<'a> {
    /// The loader.
    pub loader: &'a Path,
    /// Only what the targets need, in some minutes.
    pub quick: bool,
    /// Whether to write the tables into the page.
    pub write: bool,
    /// Only parts whose names contain this text.
    pub only: Option<&'a str>,
}

/// Measures all, and shows the tables as they come.
pub fn run(options: &Options) -> Result<()> {
    if options.write && (options.quick || options.only.is_some()) {
        bail!("only the whole evaluation is written into {PAGE}");
    }
    let begin = Instant::now();
    let kernel = Kernel::provide(Flavour::V6_1)?;
    let build = Build::module(&kernel)?;
    let module = build.file().context("the kernel has no module to load")?;
    let measure = build.another(&kernel, "measure", include_str!("evaluate/measure.c"))?;
    let bench = Bench {
        kernel: &kernel,
        module: &module,
        measure: &measure,
        loader: options.loader,
        quick: options.quick,
    };
    let mut text = format!("Linux {}, {}.\n", kernel.release, today()?);
    let mut figures = Vec::new();
    let wanted = |name: &str| options.only.is_none_or(|only| name.contains(only));
    let parts: [(&str, Part); 5] = [
        ("regions", regions::measure),
        ("programs", starts::programs),
        ("large text", starts::large_text),
        ("sizes", starts::sizes),
        ("node", starts::node),
    ];
    for (_, measure) in parts.iter().filter(|(name, _)| wanted(name)) {
        let measured = measure(&bench)?;
        figures.extend(measured.figures);
        for table in measured.tables {
            println!("\n{}", table.markdown());
            write!(text, "\n{}", table.markdown())?;
        }
    }
    ui::step("Measured", format!("in {}", ui::duration(begin.elapsed())));
    if options.write || options.only == Some(FLAMES) {
        flames::draw(&bench)?;
    }
    if options.write {
        into_page(&paths::repo().join(PAGE), "measured", &text)?;
        ui::step("Wrote", PAGE);
        let file = paths::repo().join(FIGURES);
        fs::write(&file, lines(&figures)?).with_context(|| format!("cannot write {}", file.display()))?;
        ui::step("Wrote", FIGURES);
    }
    Ok(())
}

/// Measures some of it.
type Part = fn(&Bench) -> Result<Measured>;

/// What a part has measured.
#[derive(Default)]
struct Measured {
    tables: Vec<Table>,
    /// What the tables leave out, too.
    figures: Vec<serde_json::Value>,
}

impl Measured {
    fn extend(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.figures.extend(other.figures);
    }
}

/// What all measurements need.
struct Bench<'a> {
    kernel: &'a Kernel,
    module: &'a Path,
    /// The module for ways that no loader asks for.
    measure: &'a Path,
    loader: &'a Path,
    quick: bool,
}

/// A table with a title and a line on what it shows.
pub struct Table {
    title: String,
    note: String,
    head: Vec<String>,
    /// Its cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these titles of its columns.
    pub fn new(
        title: impl Into<String>,
        note: impl Into<String>,
        head: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            title: title.into(),
            note: note.into(),
            head: head.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// As the page has it. The first column is text, the others are numbers.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("| --- |{}\n", " ---: |".repeat(self.head.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("### {}\n{}\n\n{}{rule}{rows}", self.title, self.note, line(&self.head))
    }
}

/// Thousands of instructions.
fn kilo(instructions: u64) -> String {
    match instructions {
        0..100_000 => format!("{:.1}", instructions as f64 / 1e3),
        _ => ui::grouped(instructions / 1000),
    }
}

fn ratio(count: u64, of: u64) -> String {
    format!("{:.3}", count as f64 / of as f64)
}

/// The day, for people.
pub fn today() -> Result<String> {
    Ok(crate::proc::output(crate::proc::command("date").arg("+%Y-%m-%d"))?.trim().to_owned())
}

/// An array of JSON values, one a line.
fn lines(values: &[serde_json::Value]) -> Result<String> {
    let lines = values.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// Puts a text between the marks of this name in the page.
pub fn into_page(page: &Path, name: &str, text: &str) -> Result<()> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let old = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let parts = old.split_once(&*begin).and_then(|(before, rest)| Some((before, rest.split_once(&*end)?.1)));
    let (before, after) = parts.with_context(|| format!("{} has no marks {name}", page.display()))?;
    fs::write(page, format!("{before}{begin}{text}{end}{after}"))
        .with_context(|| format!("cannot write {}", page.display()))
}
