//! What is of a kind lies together: libraries get the shape of `linker-scripts/morsel.ld` (`separate`), with distances of their
//! own, so that of all libraries first the code lies in one piece, then what is read-only after relocation, then the data,
//! without gaps. A start maps each piece at once; how many libraries there are does not matter any more but for code next to
//! read-only data, which keep their rights.
//!
//! What cannot be moved with certainty keeps its shape, and the report says why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use ld_morsel::elf::PAGE_SIZE;
use ld_morsel::layout::{Placement, Plan};
use morselctl::elf_file::{ElfFile, is_executable, is_writable};
use morselctl::separate::{Places, Separable, Shape, Sizes};

use super::Pass;
use crate::image::layout::{Arrangement, WINDOW};
use crate::image::library::{InputFile, Library};

/// What all libraries have of a kind must not take more: so all is in reach of all, and each kind in a window of its own.
const MOST: u64 = WINDOW / 2 - (16 << 20);

/// So many libraries are named where one reason or way is told for many.
const NAMED: usize = 4;

/// See the module.
struct Concatenate {
    /// The order: the files', but what keeps its shape comes first.
    order: Vec<usize>,
    /// Which libraries by which way.
    ways: BTreeMap<Way, Vec<String>>,
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
        None => Ok(Box::new(Concatenate { order: Vec::new(), ways: BTreeMap::new() })),
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
            let separate = |places| candidate.library.separate(places);
            match places.ok_or_else(|| anyhow::anyhow!("the libraries are too large")).and_then(separate) {
                Ok(bytes) => {
                    let way = if candidate.library.has_relocations { Way::Relocations } else { Way::Decoded };
                    self.add(way, file);
                    changed.push((candidate.file, bytes));
                    order.push(file.library);
                }
                Err(error) => {
                    others.push(candidate.file);
                    self.keep(file, &error);
                }
            }
        }
        drop(candidates);
        changed.into_iter().for_each(|(file, bytes)| files[file].replace(bytes));
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
            let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = match names.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let what = match way {
                Way::Linked => "linked for it",
                Way::Relocations => "moved apart by the link editor's relocations",
                Way::Decoded => "moved apart by decoding",
                Way::Kept(reason) => return format!("{} kept, {reason}: {named}{more}", names.len()),
            };
            format!("{} {what}: {named}{more}", names.len())
        });
        lines.collect()
    }
}

impl Concatenate {
    fn add(&mut self, way: Way, file: &InputFile) {
        let name = path(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.ways.entry(way).or_default().push(name);
    }

    /// Reasons that differ in numbers only are one, told by those of the first library.
    fn keep(&mut self, file: &InputFile, error: &anyhow::Error) {
        let reason = error.root_cause().to_string();
        let same = |way: &&Way| matches!(way, Way::Kept(known) if without_numbers(known) == without_numbers(&reason));
        let known = self.ways.keys().find(same).cloned();
        self.add(known.unwrap_or(Way::Kept(reason)), file);
    }
}

/// A reason but for the addresses in it.
fn without_numbers(reason: &str) -> String {
    let words = reason.split(' ').map(|word| if word.contains("0x") { "0x" } else { word });
    words.collect::<Vec<_>>().join(" ")
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
/// the front its code is, the farther away is the rest. `None` for those that there is no room for.
fn places(libraries: &[(Sizes, u64)]) -> Vec<Option<Places>> {
    let text = |(sizes, align): &(Sizes, u64)| sizes.text.next_multiple_of(*align);
    // As all begin with their code at 0, and what comes first in a window must be in it.
    let base = libraries.iter().map(text).sum::<u64>().min(MOST);
    let mut used = Sizes::default();
    let places = libraries.iter().map(|(sizes, align)| {
        let start = used.text.next_multiple_of(*align);
        let end =
            Sizes { text: start + sizes.text, relro: used.relro + sizes.relro, data: used.data + sizes.data };
        if end.text.max(end.relro).max(end.data) > MOST {
            return None;
        }
        let places = Places {
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
        let sizes = |text, relro, data| (Sizes { text, relro, data }, PAGE_SIZE);
        let libraries = [sizes(0x5000, 0x1000, 0x2000), sizes(0x3000, 0, 0x1000), sizes(0x1000, 0x2000, 0)];
        let (mut text, mut ends) = (0, None);
        for ((sizes, _), places) in libraries.iter().zip(places(&libraries)) {
            let places = places.unwrap();
            // Where the parts are once the code comes behind that of the library before.
            let starts = (text + places.relro, text + places.data);
            assert_eq!(starts, ends.unwrap_or(starts));
            assert_eq!((places.relro / WINDOW, places.data / WINDOW), (2, 3));
            ends = Some((starts.0 + sizes.relro, starts.1 + sizes.data));
            text += sizes.text;
        }
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let sizes = |text| (Sizes { text, relro: 0x1000, data: 0x1000 }, PAGE_SIZE);
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
