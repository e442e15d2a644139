//! The proof that code in an image does what the libraries' own does: every byte that is different is explained
//! ([`morselctl::code::verify`]). A build does it before it writes; `morselctl verify` does it with a finished image, from nothing
//! but that and the libraries' files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use goblin::elf64::reloc::{R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT};
use ld_morsel::elf::{LoadSegment, SegmentFlags, Segments, Vaddr};
use ld_morsel::image::format::{Member, Rewritten, Role, Source, Tables};
use morselctl::code::Code;
use morselctl::code::moves::Unit;
use morselctl::code::verify::{self, Changed, Claim, Found, Kind};
use morselctl::separate::{Places, Separable};
use object::{Object as _, RelocationFlags, RelocationTarget};
use serde::Serialize;

use super::inspect::ImageFile;
use crate::elf_file::ElfFile;

/// What dynamic linking reads, and relocation of a library whose parts move rewrites.
const OF_LOADER: [&str; 6] = [".dyn", ".rel", ".gnu.", ".hash", ".note", ".interp"];

/// Proves what has become of a library. `now` has its bytes, at its own addresses; `slots` say what it was bound to.
///
/// # Errors
/// Something does not do what it did.
pub fn prove(
    code: &Code<'_>,
    now: impl Fn(&Range<Vaddr>) -> Result<Vec<u8>>,
    units: &[Unit],
    bias: u64,
    slots: &BTreeMap<Vaddr, u64>,
) -> Result<Found> {
    let concerned = |name: &str| units.is_empty() || !OF_LOADER.iter().any(|start| name.starts_with(start));
    let sections = code.sections().iter().filter(|section| !section.writable && concerned(section.name));
    let sections: Vec<_> = sections.filter(|section| !section.bytes.is_empty()).collect();
    let new = sections.iter().map(|section| now(&section.range)).collect::<Result<Vec<_>>>()?;
    let changed = sections.iter().zip(&new).map(|(section, new)| Changed {
        start: section.range.start,
        kind: Kind::of(section),
        old: section.bytes,
        new,
    });
    let changed: Vec<Changed<'_>> = changed.collect();
    let (beginnings, relocated) = (code.beginnings(), code.relocated());
    let (sections, beginnings) = (&changed, &beginnings);
    let claim = Claim { sections, beginnings, units, bias, relocated, distances: None, slots };
    Ok(verify::verify(&claim)?)
}

/// What a proof comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proved {
    /// Calls, jumps and loads that lead straight to their targets, in all programs.
    pub direct: usize,
    /// Libraries that have some.
    pub libraries: usize,
}

/// Proves all code of an image whose inputs have not changed.
///
/// # Errors
/// Something does not do what the libraries' own code does, or cannot be read.
pub fn check(image: &ImageFile) -> Result<Proved> {
    let mut proved = Proved::default();
    let checked = image.each(|tables| -> Result<()> {
        let rewritten = image.rewritten(tables)?;
        let code = executable(image, tables)?;
        for (member, id) in tables.members.iter().zip(0..).filter(|(member, _)| member.role == Role::Library)
        {
            let rewritten = rewritten.iter().find(|rewritten| rewritten.object == id);
            let shown = || format!("{}: {}", image.path().display(), member.name.to_string_lossy());
            let view = View { image, tables, member: &member, id };
            let direct = view.check(rewritten, &code).with_context(shown)?;
            proved.direct += direct;
            proved.libraries += usize::from(direct > 0);
        }
        Ok(())
    })?;
    checked.into_iter().collect::<Result<()>>()?;
    Ok(proved)
}

/// Where a program has code of the image: addresses in the process.
fn executable(image: &ImageFile, tables: &Tables<'_>) -> Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let members = tables.members.iter().filter(|member| matches!(member.role, Role::Library | Role::Libc));
    for member in members {
        let bias = image.base().wrapping_add(member.place);
        let segments = Segments::parse(image.details(&member)?.header_table)?;
        let code = segments.loads.iter().filter(|load| load.flags.contains(SegmentFlags::EXECUTE));
        ranges.extend(
            code.map(LoadSegment::range)
                .map(|range| bias.wrapping_add(range.start.0)..bias.wrapping_add(range.end.0)),
        );
    }
    Ok(ranges)
}

/// A library as a program sees it.
struct View<'a> {
    image: &'a ImageFile,
    tables: &'a Tables<'a>,
    member: &'a Member<'a>,
    id: u32,
}

impl View<'_> {
    /// How much of it has become direct.
    fn check(&self, rewritten: Option<&Rewritten<'_>>, executable: &[Range<u64>]) -> Result<usize> {
        let path = Path::new(OsStr::from_bytes(self.member.name.to_bytes()));
        let (file, _) = ElfFile::read(path)?;
        let file = self.as_placed(path, file)?;
        let now = |range: &Range<Vaddr>| self.now(range);
        self.check_original(&file, rewritten)?;
        let Ok(code) = Code::read(&file.bytes) else {
            // What cannot be read may not be changed either.
            for load in file.segments.loads.iter().filter(|load| !load.flags.contains(SegmentFlags::WRITE)) {
                let range = load.vaddr..Vaddr(load.vaddr.0 + load.filesz);
                if now(&range)? != file.range(load.offset, load.filesz) {
                    bail!("what is read-only at {:#x} is not what the file has", load.vaddr.0);
                }
            }
            return Ok(0);
        };
        let slots = self.slots(&file, executable)?;
        let bias = self.image.base().wrapping_add(self.member.place);
        let found = prove(&code, now, &[], bias, &slots)?;
        if found.direct > 0 && rewritten.is_none() {
            bail!("calls have become direct, and the tables do not say so");
        }
        Ok(found.direct)
    }

    /// The pages that keep the file's contents have them.
    fn check_original(&self, file: &ElfFile, rewritten: Option<&Rewritten<'_>>) -> Result<()> {
        for region in rewritten.iter().flat_map(|rewritten| &rewritten.original) {
            let start = region.pages.start.wrapping_sub(self.member.place);
            let Source::File(offset) = region.source else { bail!("original code that is not in the file") };
            let kept = self.image.bytes(offset, region.pages.end - region.pages.start)?;
            let segments = file.segments.loads.iter();
            let load = segments.clone().find(|load| load.pages().contains(&Vaddr(start)));
            let load = load.context("original code that the file does not have")?;
            let (from, to) =
                (start.max(load.vaddr.0), (start + kept.len() as u64).min(load.vaddr.0 + load.filesz));
            let same = kept.get((from - start) as usize..(to - start) as usize);
            if same != Some(file.range(load.offset + (from - load.vaddr.0), to - from)) {
                bail!("the original code at {start:#x} is not what the file has");
            }
        }
        Ok(())
    }

    /// Its file, with its parts where the image has them: they are moved once more, which proves each change.
    fn as_placed(&self, path: &Path, file: ElfFile) -> Result<ElfFile> {
        let placed = Segments::parse(self.image.details(self.member)?.header_table)?;
        let begins = |segments: &Segments| segments.loads.iter().map(|load| load.vaddr).collect::<Vec<_>>();
        if begins(&placed) == begins(&file.segments) {
            return Ok(file);
        }
        let writable = placed.loads.iter().filter(|load| load.flags.contains(SegmentFlags::WRITE));
        let starts = writable.map(|load| load.pages().start.0);
        let sealed = placed.relro.clone().map_or(0, |relro| relro.end.0);
        let code = placed.loads.iter().find(|load| load.flags.contains(SegmentFlags::EXECUTE));
        let places = Places {
            code: code.map_or(0, |code| code.pages().start.0),
            relro: starts.clone().min().unwrap_or_default(),
            data: starts.filter(|&start| start >= sealed).min().unwrap_or_default(),
        };
        let moved = Separable::read(path, &file.bytes)?.separate(places)?;
        let moved = ElfFile::parse(path, moved)?;
        if begins(&placed) != begins(&moved.segments) {
            bail!("it has other segments than its file");
        }
        Ok(moved)
    }

    /// Its bytes in the image.
    fn now(&self, range: &Range<Vaddr>) -> Result<Vec<u8>> {
        let place = self.member.place;
        self.image.content(self.tables, place.wrapping_add(range.start.0)..place.wrapping_add(range.end.0))
    }

    /// What slots hold that have a function of the image, whatever the process does.
    fn slots(&self, file: &ElfFile, executable: &[Range<u64>]) -> Result<BTreeMap<Vaddr, u64>> {
        let late = self.tables.late.iter().filter(|late| late.object == self.id);
        let late: BTreeSet<Vaddr> = late.map(|late| late.relocation.slot).collect();
        let elf = object::File::parse(&*file.bytes)?;
        let mut slots = BTreeMap::new();
        for (at, relocation) in elf.dynamic_relocations().into_iter().flatten() {
            let RelocationFlags::Elf { r_type: R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT } = relocation.flags()
            else {
                continue;
            };
            let slot = Vaddr(at)..Vaddr(at + 8);
            let named = matches!(relocation.target(), RelocationTarget::Symbol(_));
            let word = self.now(&slot)?;
            let value = word.first_chunk().copied().map_or(0, u64::from_le_bytes);
            if named && !late.contains(&slot.start) && executable.iter().any(|code| code.contains(&value)) {
                slots.insert(Vaddr(at), value);
            }
        }
        Ok(slots)
    }
}
