//! What people see: headings, tables and durations.

use std::time::Duration;

use console::{measure_text_width, style};

/// The title of a part of the output.
pub fn heading(text: &str) {
    println!("\n{}", style(text).bold());
}

/// A step that is under way; to standard error, as cargo's own.
pub fn step(verb: &str, what: impl std::fmt::Display) {
    eprintln!("{} {what}", style(format!("{verb:>12}")).for_stderr().cyan().bold());
}

/// A remark on how things are done; to standard error.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{}", style(text).for_stderr().dim());
}

/// A remark that belongs to the result.
pub fn remark(text: impl std::fmt::Display) {
    println!("{}", style(text).dim());
}

/// `ok` or `FAILED`, coloured.
pub fn verdict(ok: bool) -> String {
    if ok { style("ok").green().to_string() } else { style("FAILED").red().bold().to_string() }
}

/// A duration with three significant digits and a fitting unit.
pub fn duration(time: Duration) -> String {
    micros(time.as_secs_f64() * 1e6)
}

/// A number of microseconds with three significant digits and a fitting unit.
pub fn micros(us: f64) -> String {
    let (value, unit) = match us {
        _ if us < 1e3 => (us, "µs"),
        _ if us < 1e6 => (us / 1e3, "ms"),
        _ if us < 120e6 => (us / 1e6, "s"),
        _ => (us / 60e6, "min"),
    };
    let digits = match value {
        _ if value < 10.0 => 2,
        _ if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A spinner that says what is going on; silent where the output is no terminal.
pub fn spinner(message: String) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A table: the first column is aligned to the left, the others to the right.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| style(title).dim().to_string()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints it.
    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| measure_text_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, cell) in row.iter().enumerate() {
                let padding = " ".repeat(widths[column] - measure_text_width(cell));
                line.push(' ');
                if column == 0 {
                    line += &format!("{cell}{padding}");
                } else {
                    line += &format!(" {padding}{cell}");
                }
            }
            println!("{}", line.trim_end());
        }
    }
}
