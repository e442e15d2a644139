//! In which order libraries lie: as a list has them or a recording shows that they are used, so that what runs together lies
//! together, or in one that is drawn for each build, so that nobody knows from one image how far apart libraries are in another
//! (iFed proposes that for address-space randomisation). Otherwise they lie as they were found. Some shapes come before others
//! anyway (`layout`).

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Pass;
use crate::image::build::random;
use crate::image::library::InputFile;
use crate::image::path_of;
use crate::record::recording::{self, Mode};

/// See the module.
struct Order {
    /// The file of the list or the recording; without one, the order is drawn.
    list: Option<PathBuf>,
    /// Paths or names of libraries.
    listed: Vec<PathBuf>,
    report: String,
}

/// Its value is `random`, or the path of a list or a recording.
pub fn make(value: Option<&str>) -> Result<Box<dyn Pass>> {
    let list = match value {
        Some("random") => None,
        Some(list) if list.starts_with('/') => Some(PathBuf::from(list)),
        _ => bail!("the pass `order` needs `random` or the absolute path of a list or recording: order=FILE"),
    };
    Ok(Box::new(Order { list, listed: Vec::new(), report: String::new() }))
}

impl Pass for Order {
    fn begin(&mut self) -> Result<()> {
        if let Some(list) = &self.list {
            let text = fs::read_to_string(list).with_context(|| list.display().to_string())?;
            // A recording is JSON.
            let listed = match text.starts_with('{') {
                true => recording::parse(&text).map(|modes| used(&modes)),
                false => parse(&text),
            };
            self.listed = listed.with_context(|| list.display().to_string())?;
        }
        Ok(())
    }

    fn read_all(&mut self, files: &mut [InputFile]) -> Result<()> {
        let Some(list) = &self.list else {
            for last in (1..files.len()).rev() {
                files.swap(last, (random()? % (last as u64 + 1)) as usize);
            }
            self.report = "drawn for this build".to_owned();
            return Ok(());
        };
        let place =
            |file: &InputFile| self.listed.iter().position(|listed| is_meant(listed, path_of(&file.name)));
        let found = files.iter().filter(|file| place(file).is_some()).count();
        // What is not in the list comes last, as it was.
        files.sort_by_key(|file| place(file).unwrap_or(self.listed.len()));
        self.report = format!("{found} of {} libraries are in {}", files.len(), list.display());
        Ok(())
    }

    fn report(&self) -> Vec<String> {
        vec![self.report.clone()]
    }
}

/// The libraries of a recording: first those of which much is touched before main, last those of which little is touched at all.
fn used(modes: &[Mode]) -> Vec<PathBuf> {
    let mut touched: HashMap<&Path, (u64, u64)> = HashMap::new();
    for mode in modes {
        let count = |runs| mode.counting(runs).map(|(_, pages)| pages).sum::<u64>();
        for library in &mode.libraries {
            let (main, exit) = touched.entry(&library.path).or_default();
            *main += count(&library.main);
            *exit += count(&library.exit);
        }
    }
    let mut used: Vec<_> = touched.into_iter().collect();
    used.sort_by_key(|&(path, counts)| (Reverse(counts), path));
    used.into_iter().map(|(path, _)| path.to_owned()).collect()
}

/// Whether a line stands for a library: the path by which it was found, or its name.
fn is_meant(listed: &Path, library: &Path) -> bool {
    library == listed || library.file_name() == Some(listed.as_os_str())
}

/// A path or name in each line; empty lines and comments (`#`) are allowed.
fn parse(text: &str) -> Result<Vec<PathBuf>> {
    let mut known = HashSet::new();
    let lines = (1..).zip(text.lines().map(str::trim));
    let listed = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let listed = listed.map(|(number, line)| match known.insert(line) {
        _ if line.contains('/') && !line.starts_with('/') => {
            bail!("line {number}: `{line}` is neither a name nor an absolute path")
        }
        true => Ok(PathBuf::from(line)),
        false => bail!("line {number}: `{line}` is in the list already"),
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[InputFile]) -> Vec<&str> {
        files.iter().filter_map(|file| file.name.to_str().ok()).collect()
    }

    fn files() -> Vec<InputFile> {
        let names = [c"/l/a.so", c"/l/b.so", c"/l/c.so", c"/l/d.so"].into_iter().zip(0..);
        names.map(|(name, library)| InputFile::new(name.into(), Vec::new(), library)).collect()
    }

    #[test]
    fn what_is_listed_comes_first() {
        let listed = parse("# what runs together\n/l/c.so\n\nno.so\n b.so\n/m/a.so\n").unwrap();
        let mut order = Order { list: Some("/list".into()), listed, report: String::new() };
        let mut files = files();
        order.read_all(&mut files).unwrap();
        assert_eq!(names(&files), ["/l/c.so", "/l/b.so", "/l/a.so", "/l/d.so"]);
        assert_eq!(order.report(), ["2 of 4 libraries are in /list"]);
    }

    #[test]
    fn what_is_used_most_comes_first() {
        let touched = |path: &str, main: &[recording::Run], exit: &[recording::Run]| recording::Touched {
            path: path.into(),
            fingerprint: String::new(),
            main: main.to_vec(),
            written: Vec::new(),
            exit: exit.to_vec(),
        };
        let mode = Mode {
            version: recording::VERSION,
            program: "/bin/prog".into(),
            arguments: Vec::new(),
            runs: 2,
            libraries: vec![
                touched("/l/a.so", &[(0, 1, 2)], &[(0, 1, 2)]),
                touched("/l/b.so", &[], &[(0, 9, 2)]),
                touched("/l/c.so", &[(-3, 2, 1)], &[(-3, 2, 2)]),
            ],
            trial: None,
        };
        let other = Mode { libraries: vec![touched("/l/a.so", &[(4, 3, 2)], &[])], ..mode.clone() };
        assert_eq!(used(std::slice::from_ref(&mode)), ["/l/c.so", "/l/a.so", "/l/b.so"].map(PathBuf::from));
        assert_eq!(used(&[mode, other]), ["/l/a.so", "/l/c.so", "/l/b.so"].map(PathBuf::from));
    }

    #[test]
    fn an_order_is_drawn_anew_each_time() {
        let drawn: HashSet<Vec<String>> = (0..64)
            .map(|_| {
                let mut files = files();
                make(Some("random")).unwrap().read_all(&mut files).unwrap();
                names(&files).into_iter().map(str::to_owned).collect()
            })
            .collect();
        // There are 24.
        assert!(drawn.len() > 10, "{drawn:?}");
    }

    #[test]
    fn malformed_lists_are_refused() {
        for (text, cause) in [
            ("a.so\n\na.so", "line 3: `a.so` is in the list already"),
            ("l/a.so", "line 1: `l/a.so` is neither"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(cause), "{error}");
        }
    }
}
