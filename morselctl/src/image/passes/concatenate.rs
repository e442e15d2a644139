//! What is of a kind lies together: libraries get the shape of `linker-scripts/morsel.ld` (`separate`), with distances of their
//! own, so that of all libraries first the read-only data lie in one piece, then the code, then what is read-only after relocation,
//! then the data, with gaps between code only. A start maps each piece at once; how many libraries there are does not matter any
//! more.
//!
//! What cannot be moved with certainty keeps its shape, and the report says why; or its code stays next to its read-only data, and
//! keeps its rights by a call of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use ld_morsel::elf::PAGE_SIZE;
use ld_morsel::layout::{Placement, Plan};
use morselctl::elf_file::{ElfFile, is_executable, is_writable};
use morselctl::separate::{Places, Separable, Shape, Sizes};

use super::Pass;
use crate::image::layout::{Arrangement, WINDOW};
use crate::image::library::{InputFile, Library};

/// What all libraries have of a kind must not take more: so all is in reach of all, and each kind in a window of its own.
const MOST: u64 = WINDOW / 2 - (16 << 20);

/// So much room is left between the code of two libraries, at most, as long as there is any. Debuggers think all parts of a
/// library to be about its code, and do not find code where they think another library's data.
const MOST_AROUND: u64 = 16 << 20;

/// So many libraries are named where one reason or way is told for many.
const NAMED: usize = 4;

/// See the module.
#[derive(Default)]
struct Concatenate {
    /// The order: the files', but what keeps its shape comes first.
    order: Vec<usize>,
    /// Which libraries by which way.
    ways: BTreeMap<Way, Vec<String>>,
    /// Whose code stays with read-only data, and why.
    together: BTreeMap<String, Vec<String>>,
}

/// How a library's parts come to lie apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Linked,
    Relocations,
    Decoded,
    /// They do not: the reason, without the numbers in it.
    Kept(String),
}

/// A library's place among the others: code that stands alone behind code with read-only data, as `layout` has it.
struct Candidate<'a> {
    file: usize,
    library: Separable<'a>,
    /// Only code is in the first part.
    is_code: bool,
    align: u64,
}

/// Takes no value.
pub fn make(value: Option<&str>) -> Result<Box<dyn Pass>> {
    match value {
        None => Ok(Box::<Concatenate>::default()),
        Some(_) => bail!("the pass `concatenate` takes no value"),
    }
}

impl Pass for Concatenate {
    fn read_all(&mut self, files: &mut [InputFile]) -> Result<()> {
        let read = read_in_parallel(files);
        let mut others: Vec<usize> = Vec::new();
        let mut candidates = Vec::new();
        for (number, read) in read.into_iter().enumerate() {
            match read {
                Ok(Some(candidate)) => candidates.push(candidate),
                Ok(None) => {
                    others.push(number);
                    self.add(Way::Linked, &files[number]);
                }
                Err(error) => {
                    others.push(number);
                    self.keep(&files[number], &error);
                }
            }
        }
        candidates.sort_by_key(|candidate| (candidate.is_code, candidate.file));
        let sizes: Vec<(Sizes, u64)> =
            candidates.iter().map(|one| (one.library.sizes(), one.align)).collect();
        let mut changed = Vec::new();
        let mut order = Vec::new();
        for (candidate, places) in candidates.iter().zip(places(&sizes)) {
            let file = &files[candidate.file];
            let places = places.ok_or_else(|| anyhow!("the libraries are too large"));
            match places.and_then(|places| Ok((places, candidate.library.separate(places)?))) {
                Ok((places, bytes)) => {
                    let way = if candidate.library.has_relocations { Way::Relocations } else { Way::Decoded };
                    self.add(way, file);
                    if let Some(reason) = &candidate.library.together {
                        let reason = same_reason(self.together.keys(), reason);
                        self.together.entry(reason).or_default().push(name(file));
                    }
                    changed.push((candidate.file, candidate.library.code_shift(places), bytes));
                    order.push(file.library);
                }
                Err(error) => {
                    others.push(candidate.file);
                    self.keep(file, &error);
                }
            }
        }
        drop(candidates);
        changed.into_iter().for_each(|(file, shift, bytes)| files[file].replace(bytes, shift));
        // What is linked for it comes first: its distances are what they are.
        others.sort_unstable();
        self.order = others.into_iter().map(|number| files[number].library).chain(order).collect();
        Ok(())
    }

    fn arrange(&mut self, _libraries: &[Library], arrangement: &mut Arrangement) -> Result<()> {
        arrangement.order.clone_from(&self.order);
        Ok(())
    }

    fn report(&self) -> Vec<String> {
        let lines = self.ways.iter().map(|(way, names)| {
            let named = named(names);
            let what = match way {
                Way::Linked => "linked for it",
                Way::Relocations => "moved apart by the link editor's relocations",
                Way::Decoded => "moved apart by decoding",
                Way::Kept(reason) => return format!("{} kept, {reason}: {named}", names.len()),
            };
            format!("{} {what}: {named}", names.len())
        });
        let together = self.together.iter().map(|(reason, names)| {
            format!("the code of {} stays with read-only data, {reason}: {}", names.len(), named(names))
        });
        lines.chain(together).collect()
    }
}

impl Concatenate {
    fn add(&mut self, way: Way, file: &InputFile) {
        self.ways.entry(way).or_default().push(name(file));
    }

    fn keep(&mut self, file: &InputFile, error: &anyhow::Error) {
        let known = self.ways.keys().filter_map(|way| match way {
            Way::Kept(reason) => Some(reason),
            _ => None,
        });
        let reason = same_reason(known, &error.root_cause().to_string());
        self.add(Way::Kept(reason), file);
    }
}

/// Reasons that differ in numbers only are one, told by those of the first library.
fn same_reason<'a>(known: impl IntoIterator<Item = &'a String>, reason: &str) -> String {
    let same = |known: &&String| without_numbers(known) == without_numbers(reason);
    known.into_iter().find(same).map_or_else(|| reason.to_owned(), String::clone)
}

/// The first few of many names.
fn named(names: &[String]) -> String {
    let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// A reason but for the addresses in it.
fn without_numbers(reason: &str) -> String {
    let words = reason.split(' ').map(|word| if word.contains("0x") { "0x" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn name(file: &InputFile) -> String {
    path(file).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn path(file: &InputFile) -> PathBuf {
    PathBuf::from(file.name.to_string_lossy().into_owned())
}

/// What can be moved apart; `None` for what is linked for it.
type Read<'a> = Result<Option<Candidate<'a>>>;

/// Reads all files, each processor its share.
fn read_in_parallel(files: &[InputFile]) -> Vec<Read<'_>> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let numbers: Vec<usize> = (0..files.len()).collect();
    let shares = numbers.chunks(files.len().div_ceil(threads).max(1));
    std::thread::scope(|scope| {
        let started: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(|&file| read(files, file)).collect::<Vec<_>>()))
            .collect();
        started.into_iter().flat_map(|thread| thread.join().expect("a thread of this process")).collect()
    })
}

fn read(files: &[InputFile], number: usize) -> Read<'_> {
    let file = &files[number];
    if file.is_libc {
        bail!("it relocates itself");
    }
    let elf = ElfFile::parse(Path::new(""), file.bytes.clone())?;
    if Shape::of(&elf.segments)?.is_far() {
        return Ok(None);
    }
    let library = Separable::read(&path(file), &file.bytes)?;
    let is_code = elf.loads().filter(|load| !is_writable(load)).all(is_executable);
    let align = match Plan::new(ld_morsel::elf::ObjectType::Relocatable, &elf.segments).placement {
        Placement::Aligned { to, .. } => to,
        Placement::Preferred | Placement::Exact => PAGE_SIZE,
    };
    Ok(Some(Candidate { file: number, library, is_code, align }))
}

/// Where the parts of libraries that come in this order go, so that none leaves a gap behind the one before: the nearer to
/// the front its first part is, the farther away is the rest. `None` for those that there is no room for.
fn places(libraries: &[(Sizes, u64)]) -> Vec<Option<Places>> {
    let text = |(sizes, align): &(Sizes, u64)| sizes.text.next_multiple_of(*align);
    // As all begin with their first part at 0, and what comes first in a window must be in it.
    let base = libraries.iter().map(text).sum::<u64>().min(MOST);
    let mut used = Sizes::default();
    let places = libraries.iter().map(|(sizes, align)| {
        let start = used.text.next_multiple_of(*align);
        let [before, behind] = sizes.around;
        let room = if used.code == 0 { 0 } else { before.max(used.around[1]).min(MOST_AROUND) };
        let code = if used.code + room + sizes.code > MOST { used.code } else { used.code + room };
        let end = Sizes {
            text: start + sizes.text,
            code: if sizes.code == 0 { used.code } else { code + sizes.code },
            around: if sizes.code == 0 { used.around } else { [before, behind] },
            relro: used.relro + sizes.relro,
            data: used.data + sizes.data,
        };
        if end.text.max(end.code).max(end.relro).max(end.data) > MOST {
            return None;
        }
        let places = Places {
            code: WINDOW + base + code - start,
            relro: 2 * WINDOW + base + used.relro - start,
            data: 3 * WINDOW + base + used.data - start,
        };
        used = end;
        Some(places)
    });
    places.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_leaves_a_gap() {
        let sizes =
            |text, code, relro, data| (Sizes { text, code, relro, data, ..Sizes::default() }, PAGE_SIZE);
        let libraries = [
            sizes(0x5000, 0x2000, 0x1000, 0x2000),
            sizes(0x3000, 0, 0, 0x1000),
            sizes(0x1000, 0x3000, 0x2000, 0),
        ];
        let (mut text, mut ends) = (0, None);
        for ((sizes, _), places) in libraries.iter().zip(places(&libraries)) {
            let places = places.unwrap();
            // Where the parts are once the first comes behind that of the library before.
            let starts = [text + places.code, text + places.relro, text + places.data];
            assert_eq!(starts, ends.unwrap_or(starts));
            assert_eq!([places.code, places.relro, places.data].map(|place| place / WINDOW), [1, 2, 3]);
            ends = Some([starts[0] + sizes.code, starts[1] + sizes.relro, starts[2] + sizes.data]);
            text += sizes.text;
        }
    }

    #[test]
    fn code_has_room_for_what_debuggers_think_there() {
        let sizes = |before, behind| {
            let around = [before, behind];
            (Sizes { text: 0x1000, code: 0x2000, around, ..Sizes::default() }, PAGE_SIZE)
        };
        let libraries = [sizes(0x1000, 0x5000), sizes(0x3000, 0x1000), sizes(0x8000, 0)];
        let places = places(&libraries);
        let code: Vec<u64> =
            (0..).step_by(0x1000).zip(places).map(|(text, one)| text + one.unwrap().code).collect();
        assert_eq!([code[1] - code[0], code[2] - code[1]], [0x2000 + 0x5000, 0x2000 + 0x8000]);
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let sizes =
            |text| (Sizes { text, code: 0x1000, relro: 0x1000, data: 0x1000, around: [0; 2] }, PAGE_SIZE);
        let found = places(&[sizes(MOST - 0x1000), sizes(0x2000), sizes(0x1000)]);
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn reasons_are_the_same_but_for_addresses() {
        assert_eq!(
            without_numbers("0x12..0x34 belongs to no function"),
            without_numbers("0x5..0x6 belongs to no function")
        );
    }
}
