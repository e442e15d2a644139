//! Calls between libraries without detour: what leads through the procedure linkage table or a slot of the global offset table to
//! a function in the image leads straight there, and where such a function's address is loaded from a slot, it is computed. All
//! distances within an image are fixed, also when it is moved as a whole.
//!
//! Everything is bound already for exactly these programs, and a library that is loaded later cannot come before those. What the
//! process itself decides (the program's functions, the loader's, IFUNCs) goes on through its slot, as does what programs that
//! share a library bind differently. Only code that can be read with certainty is changed ([`morselctl::code`]), and what has become
//! of it is proved before it is written (`proof`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use goblin::elf64::reloc::{R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT};
use ld_morsel::elf::{PAGE_SIZE, Relocation, RelocationTable, Vaddr};
use ld_morsel::layout::PageClass;
use ld_morsel::program::{Object, ObjectId, Origin};
use morselctl::code::calls::{self, Kept, Sites};
use morselctl::code::{Code, Kind, Patch, apply};
use object::LittleEndian;
use object::elf::{GNU_PROPERTY_X86_FEATURE_1_AND, GNU_PROPERTY_X86_FEATURE_1_IBT};
use object::read::elf::{ElfFile64, ProgramHeader};

use super::Pass;
use crate::image::build::{Built, Rewritten, Served};
use crate::image::library::{InputFile, Library};
use crate::image::proof;

/// So many libraries that were left alone are named, each with the reason.
const NAMED: usize = 5;

/// Why what leads through a slot goes on to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// The slot has a variable's address, or none.
    NoFunction,
    /// The process itself decides.
    AtStart,
    /// Programs bind it to different functions.
    Different,
    /// The target is too far away.
    OutOfReach,
    /// The instruction has a form that is not known.
    Form,
    /// Too many called functions compete for a place in the cache.
    Crowded,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::NoFunction => "to no function",
            Self::AtStart => "bound by the process",
            Self::Different => "bound differently by programs",
            Self::OutOfReach => "out of reach",
            Self::Form => "of unknown form",
            Self::Crowded => "faster by their stubs",
        }
    }
}

/// The name of a slot's symbol, and the function that it has, as an address in the process.
type Slot = (Vec<u8>, Result<u64, Why>);

#[derive(Default)]
struct DirectCalls {
    /// The libraries' files.
    files: HashMap<CString, Vec<u8>>,
    /// How many calls, jumps and loads have become direct, and in how many libraries.
    direct: (usize, usize),
    /// How many have not.
    kept: BTreeMap<Why, usize>,
    /// Which libraries have been left alone, and why.
    left: Vec<(CString, String)>,
}

/// Takes no value.
pub fn make(value: Option<&str>) -> Result<Box<dyn Pass>> {
    match value {
        None => Ok(Box::<DirectCalls>::default()),
        Some(_) => bail!("the pass `direct-calls` takes no value"),
    }
}

impl Pass for DirectCalls {
    fn read(&mut self, file: &mut InputFile) -> Result<()> {
        self.files.insert(file.name.clone(), file.bytes.clone());
        Ok(())
    }

    fn change(&mut self, built: &mut Built) -> Result<()> {
        let checked: Result<Vec<bool>> =
            built.programs.iter().map(|served| needs_pads(&served.path)).collect();
        let checked = checked?;
        let code: Vec<Vec<Range<u64>>> =
            built.programs.iter().map(|served| executable(built, served)).collect();
        for index in 0..built.libraries.len() {
            let users: Vec<(usize, ObjectId)> = users(built, index).collect();
            if users.is_empty() {
                continue;
            }
            let name = built.libraries[index].name.clone();
            if users.iter().any(|&(program, _)| checked[program]) {
                self.left.push((name, "its program needs IBT".to_owned()));
                continue;
            }
            let bytes = self.files.remove(&name);
            let bytes = bytes.with_context(|| format!("{} has not been read", name.to_string_lossy()))?;
            match Code::read(&bytes) {
                Ok(read) => self.rewrite(built, index, &users, &read, &code)?,
                Err(uncertain) => self.left.push((name, uncertain.to_string())),
            }
        }
        Ok(())
    }

    fn report(&self) -> Vec<String> {
        let (sites, libraries) = self.direct;
        let mut line =
            format!("{sites} calls and addresses in {libraries} libraries lead straight to their targets");
        for (why, count) in &self.kept {
            line += &format!(", {count} {}", why.text());
        }
        let named = self.left.iter().take(NAMED);
        let left = named.map(|(name, why)| format!("{} is left alone: {why}", name.to_string_lossy()));
        let others = self.left.len().saturating_sub(NAMED);
        let others = (others > 0).then(|| format!("and {others} more libraries"));
        [line].into_iter().chain(left).chain(others).collect()
    }
}

impl DirectCalls {
    /// Makes a library's calls direct, in the memory of all its users: pairs of a program and the library's place in that.
    fn rewrite(
        &mut self,
        built: &mut Built,
        index: usize,
        users: &[(usize, ObjectId)],
        code: &Code<'_>,
        executable: &[Vec<Range<u64>>],
    ) -> Result<()> {
        let library = &built.libraries[index];
        let name = || library.name.to_string_lossy().into_owned();
        let known = users.iter().map(|&(program, id)| {
            slots(&built.programs[program], id, library, &executable[program]).with_context(name)
        });
        let slots = agree(known.collect::<Result<_>>()?);
        let functions = slots.iter().filter_map(|(slot, (_, function))| Some((*slot, (*function).ok()?)));
        let functions: BTreeMap<Vaddr, u64> = functions.collect();
        let bias = built.base.wrapping_add(library.place);
        let Sites { mut patches, kept, passed_by } = calls::patches(code, bias, &functions);
        self.count(code, &slots, &kept);
        if patches.is_empty() {
            return Ok(());
        }
        patches.sort_unstable();
        let placed = |range: &Range<Vaddr>| library.placed(range);
        for &(program, _) in users {
            let memory = &mut built.programs[program].memory;
            for section in code.sections().iter().filter(|section| section.executable) {
                let bytes = memory.at_mut(&placed(&section.range));
                apply(bytes, section.range.start, &patches)
                    .map_err(|error| anyhow!("{}: {error}", name()))?;
            }
            let now = |range: &Range<Vaddr>| Ok(memory.at(&placed(range)).to_vec());
            proof::prove(code, now, &[], bias, &functions).with_context(name)?;
        }
        self.direct.0 += patches.len();
        self.direct.1 += 1;
        let symbols = passed_by.iter().map(|slot| slots[slot].0.clone()).collect();
        let pages = pages(library, &patches);
        built.rewritten.push(Rewritten { library: index, symbols, pages });
        Ok(())
    }

    /// Counts what still leads through slots.
    fn count(&mut self, code: &Code<'_>, slots: &BTreeMap<Vaddr, Slot>, kept: &[(Vaddr, Kept)]) {
        let leads = |kind| !matches!(kind, Kind::Address | Kind::Other);
        let through = code.references().filter(|reference| leads(reference.kind));
        let through = through.filter(|reference| !code.is_linkage_table(reference.at));
        let slots = through.filter_map(|reference| slots.get(&calls::slot_of(code, reference))?.1.err());
        let kept = kept.iter().filter(|(at, _)| !code.is_linkage_table(*at)).map(|(_, kept)| match kept {
            Kept::OutOfReach => Why::OutOfReach,
            Kept::Form => Why::Form,
            Kept::Crowded => Why::Crowded,
        });
        slots.chain(kept).for_each(|why| *self.kept.entry(why).or_default() += 1);
    }
}

/// Which programs use a library, and what it is to them. libc is none: it relocates itself.
fn users(built: &Built, index: usize) -> impl Iterator<Item = (usize, ObjectId)> {
    built.programs.iter().enumerate().flat_map(move |(program, served)| {
        let objects = served.program.iter().zip(&served.libraries);
        objects
            .filter(move |(_, library)| **library == Some(index))
            .filter_map(move |((id, object), _)| (object.origin == Origin::File).then_some((program, id)))
    })
}

/// Where a program has code of the image: addresses in the process, ascending.
fn executable(built: &Built, served: &Served) -> Vec<Range<u64>> {
    let libraries = served.libraries.iter().flatten().map(|&index| &built.libraries[index]);
    let ranges = libraries.flat_map(|library| {
        let regions = library.plan.regions.iter().filter(|region| region.class == PageClass::Text);
        regions.map(|region| library.placed(&region.pages))
    });
    let mut ranges: Vec<Range<u64>> =
        ranges.map(|range| built.base + range.start..built.base + range.end).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    ranges
}

/// What a library's slots hold for one program. `executable` is where code can be.
fn slots(
    served: &Served,
    id: ObjectId,
    library: &Library,
    executable: &[Range<u64>],
) -> Result<BTreeMap<Vaddr, Slot>> {
    let object = &served.program[id];
    let late = served.late.iter().filter(|late| ObjectId(late.object) == id);
    let late: BTreeSet<Vaddr> = late.map(|late| late.relocation.slot).collect();
    let is_code = |address: u64| {
        let next = executable.partition_point(|range| range.start <= address);
        next.checked_sub(1).is_some_and(|last| executable[last].contains(&address))
    };
    let mut slots = BTreeMap::new();
    for_each_relocation(object, |relocation| {
        let Relocation { slot, kind, symbol, .. } = *relocation;
        if !matches!(kind, R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT) {
            return;
        }
        let table = &object.symbols;
        let name = table.get(symbol).and_then(|symbol| table.name_of(&symbol));
        let word = served.memory.at(&library.placed(&(slot..Vaddr(slot.0 + 8))));
        let value = word.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let function = match name {
            _ if late.contains(&slot) => Err(Why::AtStart),
            Some(_) if is_code(value) => Ok(value),
            _ => Err(Why::NoFunction),
        };
        slots.insert(slot, (name.map_or_else(Vec::new, |name| name.bytes().to_vec()), function));
    })?;
    Ok(slots)
}

fn for_each_relocation(object: &Object, mut each: impl FnMut(&Relocation)) -> Result<()> {
    let dynamic = &object.dynamic;
    let tables = [
        (dynamic.jmprel, dynamic.jmprel_has_addends, "DT_JMPREL"),
        (dynamic.rel, false, "DT_REL"),
        (dynamic.rela, true, "DT_RELA"),
    ];
    for (table, has_addends, what) in tables {
        RelocationTable::parse(&object.view, table, has_addends, what)?.for_each(&mut each);
    }
    Ok(())
}

/// What all programs hold to be in the slots.
fn agree(all: Vec<BTreeMap<Vaddr, Slot>>) -> BTreeMap<Vaddr, Slot> {
    let mut all = all.into_iter();
    let mut agreed = all.next().unwrap_or_default();
    for other in all {
        for (slot, (_, function)) in &mut agreed {
            if other.get(slot).is_none_or(|(_, same)| same != function) {
                *function = Err(Why::Different);
            }
        }
    }
    agreed
}

/// The pages that patches change: one range for each region of the library.
fn pages(library: &Library, patches: &[Patch]) -> Vec<Range<Vaddr>> {
    let regions = library.plan.regions.iter().filter(|region| region.class == PageClass::Text);
    let changed = regions.filter_map(|region| {
        let within: BTreeSet<u64> = patches
            .iter()
            .flat_map(|patch| [patch.at.0, patch.end().0 - 1])
            .filter(|at| region.pages.contains(&Vaddr(*at)))
            .map(|at| at / PAGE_SIZE)
            .collect();
        Some(Vaddr(within.first()? * PAGE_SIZE)..Vaddr((within.last()? + 1) * PAGE_SIZE))
    });
    changed.collect()
}

/// Whether a program asks for indirect branch tracking. Nothing of its process is changed then.
fn needs_pads(path: &CStr) -> Result<bool> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let read = || -> Result<bool> {
        let bytes = fs::read(path)?;
        let file = ElfFile64::<LittleEndian>::parse(&*bytes)?;
        for header in file.elf_program_headers() {
            let Some(mut notes) = header.notes(LittleEndian, &*bytes)? else { continue };
            while let Some(note) = notes.next()? {
                let Some(mut properties) = note.gnu_properties(LittleEndian) else { continue };
                while let Some(property) = properties.next()? {
                    if property.pr_type() == GNU_PROPERTY_X86_FEATURE_1_AND
                        && property.data_u32(LittleEndian)? & GNU_PROPERTY_X86_FEATURE_1_IBT != 0
                    {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    };
    read().with_context(|| path.display().to_string())
}
