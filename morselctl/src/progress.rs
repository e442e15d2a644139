//! What is shown while long work goes on: a bar on standard error if that is a terminal, and nothing else.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar is drawn while one step takes its time.
const TICK: Duration = Duration::from_millis(100);

/// Progress of work that has so many steps.
pub struct Progress(ProgressBar);

impl Progress {
    /// No step is done yet.
    pub fn new(steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        // A template that is wrong would only show the default bar.
        if let Ok(style) = ProgressStyle::with_template("[{elapsed}] {wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// The next step is about this file.
    pub fn begin(&self, path: &Path) {
        self.0.set_message(path.display().to_string());
    }

    /// A step is done.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Prints a line to standard output.
    pub fn say(&self, line: impl Display) {
        self.0.suspend(|| println!("{line}"));
    }

    /// Prints an error to standard error.
    pub fn complain(&self, error: &anyhow::Error) {
        self.0.suspend(|| eprintln!("morselctl: {error:#}"));
    }

    /// Takes the bar away.
    pub fn end(self) {
        self.0.finish_and_clear();
    }
}
