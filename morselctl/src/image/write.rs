//! From what has been built to the file: the windows byte for byte, and behind them what makes an ELF file of it (`frame`).

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ld_morsel::elf::{Dynamic, PAGE_SIZE, Vaddr, page_up};
use ld_morsel::image::format::{
    Aside, Details, HEADER_AT, Header, Key, List, Member, Numbers, ProgramEntry, Role, TABLE_NAMES, Tables,
    VERSION, Watch, WindowPart, checksum,
};
use ld_morsel::program::{Object, ObjectId, Origin, initialization_order};
use ld_morsel::sys::MemoryFlags;

use super::build::{Built, Served};
use super::frame::{Part, frame, kind};
use super::idle::{Idle, Pointers};
use super::layout::HUGE_PAGE;
use super::library::Library;
use super::originals::Originals;
use super::pages::{Content, Difference, FileMap, UNREACHABLE, difference, huge, is_sealed, runs};
use crate::elf_file::record;
use crate::write::Pending;
use morselctl::separate::relr;

/// What has been written.
pub struct Written {
    /// Bytes of the file that are mapped.
    pub size: u64,
    /// Bytes of the tables.
    pub tables: u64,
    /// How many libraries, libc included, are in the image.
    pub libraries: usize,
    /// How many of them have pages for relocation only that stay writable until the process has done its part.
    pub unsealed: usize,
}

/// Where a program's tables, the details of its members and its index of references begin in the first window.
#[derive(Clone, Copy, Default)]
struct Places {
    tables: u64,
    details: u64,
    index: u64,
}

/// A program's tables.
struct Planned {
    difference: Difference,
    tables: [Vec<u8>; TABLE_NAMES.len()],
    /// The details of all members.
    details: Vec<u8>,
    /// The list of rewritten libraries, and where it is.
    rewritten: Option<(Aside, Vec<u8>)>,
}

impl Planned {
    fn size(&self) -> u64 {
        self.tables.iter().map(Vec::len).sum::<usize>() as u64
    }
}

/// Writes the image to all `targets`, which become names of one file.
///
/// # Errors
/// It cannot be written; nothing has changed then.
pub fn write(built: &mut Built, targets: &[PathBuf]) -> Result<Written> {
    share(built);
    // Where the tables end decides where everything behind them is; how long they are does not depend on it.
    let nowhere = vec![Places::default(); built.programs.len()];
    let (draft, _) = plan(built, &mut FileMap::new(built, 0), &nowhere);
    let mut first = built.layout.windows[0].end;
    let places = draft.iter().zip(&built.programs).map(|(planned, served)| {
        // Tables are whole words.
        let details = first + planned.size();
        let index = page_up(details + planned.details.len() as u64);
        let places = Places { tables: first, details, index };
        first = page_up(index + served.references.as_ref().map_or(0, Vec::len) as u64);
        places
    });
    let places: Vec<Places> = places.collect();
    if built.layout.windows.get(1).is_some_and(|far| first > far.start / HUGE_PAGE * HUGE_PAGE) {
        bail!("the libraries and their tables are too large for one image");
    }
    let mut map = FileMap::new(built, first);
    let (planned, originals) = plan(built, &mut map, &places);
    let entries = built.programs.iter().zip(&planned).zip(&places).map(|((served, planned), places)| {
        let checksum = checksum(&[&planned.tables.concat()]);
        let (program, tables) = (served.header_identity(), places.tables);
        ProgramEntry { program, tables, size: planned.size(), checksum }
    });
    let entries: Vec<ProgramEntry> = entries.collect();
    let header = Header {
        version: VERSION,
        loader: built.loader,
        base: built.base,
        window: first,
        programs: entries.len() as u64,
        watch: Watch::empty(),
        checksum: 0,
    };
    let memory = &mut built.programs[0].memory;
    for gap in planned.iter().flat_map(|planned| &planned.difference.gaps) {
        memory.at_mut(gap).fill(UNREACHABLE);
    }
    let (loads, parts) = describe(built, &map, &planned, &places);
    let (elf, rest) = frame(built.base, map.end, &loads, &parts, &built.libraries);

    let (target, others) = targets.split_first().context("no target")?;
    let mode = if built.programs.iter().all(|served| served.readable_by_all) { 0o444 } else { 0o400 };
    let pending = Pending::create(target, |path| {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let common = &built.programs[0].memory;
        let first = built.layout.windows[0].clone();
        for pages in [&first].into_iter().chain(map.far.iter().map(|window| &window.pages)) {
            let huge = built.layout.huge && pages.start % HUGE_PAGE == 0;
            write_sparsely(&file, common.at(pages), map.offset(pages.start), huge)?;
        }
        file.write_all_at(record(&elf), 0)?;
        file.write_all_at(&header.to_bytes(&entries), HEADER_AT as u64)?;
        for ((planned, served), places) in planned.iter().zip(&built.programs).zip(&places) {
            for (pages, offset) in &planned.difference.variants {
                file.write_all_at(served.memory.at(pages), *offset)?;
            }
            file.write_all_at(&planned.tables.concat(), places.tables)?;
            file.write_all_at(&planned.details, places.details)?;
            file.write_all_at(served.references.as_deref().unwrap_or_default(), places.index)?;
            if let Some((aside, list)) = &planned.rewritten {
                file.write_all_at(list, aside.offset)?;
            }
        }
        originals.write(built, &file)?;
        file.write_all_at(&rest, map.end)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    })?;
    let others: Vec<Pending> =
        others.iter().map(|other| Pending::link_or_copy(other, pending.path())).collect::<Result<_>>()?;
    for pending in others.into_iter().chain([pending]) {
        pending.commit()?;
    }
    let libraries = || {
        built
            .programs
            .iter()
            .flat_map(|served| served.program.iter().map(move |(id, object)| (served, id, object)))
    };
    let unsealed = libraries().filter(|(served, id, object)| {
        let has_relro = object.segments.relro.as_ref().is_some_and(|relro| relro.start < relro.end);
        object.origin == Origin::File && has_relro && !is_sealed(served, *id)
    });
    Ok(Written {
        size: map.end,
        tables: planned.iter().map(Planned::size).sum(),
        libraries: built.libraries.iter().filter(|library| !library.units.is_empty()).count(),
        unsealed: unsealed.count(),
    })
}

/// Gives the first program's memory the libraries that only others have: its contents are the windows'.
fn share(built: &mut Built) {
    let Built { programs, libraries, .. } = built;
    let Some((first, others)) = programs.split_first_mut() else { return };
    let mut known = first.libraries.clone();
    for other in others {
        for &index in other.libraries.iter().flatten() {
            if !known.contains(&Some(index)) {
                known.push(Some(index));
                for unit in &libraries[index].units {
                    let pages = libraries[index].placed(&unit.pages);
                    first.memory.at_mut(&pages).copy_from_slice(other.memory.at(&pages));
                }
            }
        }
    }
}

fn plan(built: &Built, map: &mut FileMap, places: &[Places]) -> (Vec<Planned>, Originals) {
    let common = &built.programs[0].memory;
    let originals = Originals::new(built, map);
    let programs = built.programs.iter().zip(places).map(|(served, places)| {
        let difference = difference(built, served, map, |pages| common.at(pages) == served.memory.at(pages));
        let rebase = relr(&served.rebase);
        let [library_path, preload, libc] = built.wishes;
        let key = Key {
            library_path,
            preload,
            libc,
            origin: served.asked_for_origin.then_some(&served.path),
            passes: Some(&built.passes),
            program: served.file,
            fingerprint: served.fingerprint,
        };
        let rewritten = originals.list(built, served, map);
        let dependencies = served
            .program
            .objects()
            .map(|object| Numbers::to_bytes(object.dependencies.iter().map(|id| id.0)));
        let dependencies: Vec<Vec<u8>> = dependencies.collect();
        let mut members = members(built, served, &dependencies);
        let details = place_details(built, served, places.details, &mut members);
        let initialisation = initialisation(served, &members);
        let tables = Tables {
            key,
            inputs: List::Values(&served.inputs()),
            members: List::Values(&members),
            parts_moved: built.libraries.iter().any(|library| library.linked_dynamic.is_some()),
            initialisation: Numbers::of(&initialisation),
            windows: List::Values(&map.far),
            regions: List::Values(&difference.regions),
            sealed: List::Values(&difference.sealed),
            huge: List::Values(&huge(built, map)),
            late: List::Values(&served.late),
            interposed: List::Values(&served.interposed),
            rewritten: rewritten.as_ref().map(|(aside, _)| *aside),
            index: served.references.as_ref().map(|references| WindowPart::of(places.index, references)),
            digests: List::Values(&served.digests),
            populate: List::Values(&served.populate),
            rebase: &rebase,
        };
        let tables = tables.to_bytes();
        Planned { tables, details, difference, rewritten }
    });
    (programs.collect(), originals)
}

/// Writes all that is not zero, in large pieces: the kernel keeps together what is written at once. For `huge` pages, pieces are
/// whole; else many zeros are left out.
fn write_sparsely(file: &fs::File, memory: &[u8], at: u64, huge: bool) -> io::Result<()> {
    const PIECE: usize = HUGE_PAGE as usize;
    const FEW: usize = 16 << 10;
    for (offset, piece) in (at..).step_by(PIECE).zip(memory.chunks(PIECE)) {
        let parts = piece.chunks(if huge { PIECE } else { FEW }).enumerate();
        let mut pending: Option<Range<usize>> = None;
        for (number, part) in parts {
            let start = number * FEW;
            let used = start..start + part.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            pending = match pending.take() {
                Some(before) if used.is_empty() => {
                    file.write_all_at(&piece[before.clone()], offset + before.start as u64)?;
                    None
                }
                Some(before) => Some(before.start..used.end),
                None => Some(used).filter(|used| !used.is_empty()),
            };
        }
        if let Some(last) = pending {
            let last = if huge { 0..piece.len() } else { last };
            file.write_all_at(&piece[last.clone()], offset + last.start as u64)?;
        }
    }
    Ok(())
}

/// The details of all members that are in the image, which begin at `start` in the first window: first those that a start reads, near the
/// tables.
fn place_details(built: &Built, served: &Served, start: u64, members: &mut [Member<'_>]) -> Vec<u8> {
    let mut details = Vec::new();
    let mut order: Vec<ObjectId> = served.program.ids().collect();
    order.sort_by_key(|id| !members[id.index()].is_used_by_start());
    for id in order {
        let Some(library) = served.libraries[id.index()].map(|library| &built.libraries[library]) else {
            continue;
        };
        let object = &served.program[id];
        let told = Details {
            header_table: &library.header_table,
            dynamic: dynamic_section(object),
            gnu_hash: object.symbols.gnu_hash_head(),
            arrays: is_sealed(served, id).then(|| arrays(library, object, served)).flatten(),
        };
        let bytes = told.to_bytes();
        members[id.index()].details = Some(WindowPart::of(start + details.len() as u64, &bytes));
        details.extend(bytes);
    }
    details
}

/// The objects of a program as the tables have them, but for their details.
fn members<'a>(built: &'a Built, served: &'a Served, dependencies: &'a [Vec<u8>]) -> Vec<Member<'a>> {
    let objects = served.program.iter().zip(&served.libraries).zip(dependencies);
    let pointers = Pointers::of(served);
    let members = objects.map(|(((id, object), library), dependencies)| {
        let role = match object.origin {
            Origin::Kernel => Role::Program,
            Origin::Libc => Role::Libc,
            Origin::Loader | Origin::Vdso => Role::Loader,
            Origin::File => Role::Library,
        };
        let library = library.map(|library| &built.libraries[library]);
        let bias = object.mapping.bias;
        let idle = Idle::of(built, served, &pointers, id);
        let pages = object.segments.span();
        Member {
            role,
            name: &object.name,
            identity: object.identity.filter(|_| library.is_some()),
            has_short_name: served.program.notes(id).short_name.is_some(),
            needed_by: object.needed_by.map(|id| id.0),
            dependencies: Numbers::of(dependencies),
            tls: object.tls,
            place: bias.0.wrapping_sub(built.base),
            entry: bias.unapply(object.entry).0,
            headers: object
                .program_headers
                .map(|(address, count)| (bias.unapply(address).0, u32::from(count))),
            span: pages.start.0..pages.end.0,
            summary: object.summary,
            details: None,
            sealed: is_sealed(served, id),
            linked_dynamic: library.and_then(|library| library.linked_dynamic).map(|vaddr| vaddr.0),
            code_shift: library.map_or(0, |library| library.code_shift),
            idle_constructors: idle.constructors,
            idle_destructors: idle.destructors,
        }
    });
    members.collect()
}

/// The members that have something to be run when they are initialised or finalised, in this order.
fn initialisation(served: &Served, members: &[Member<'_>]) -> Vec<u8> {
    let objects: Vec<&[ObjectId]> =
        served.program.objects().map(|object| object.dependencies.as_slice()).collect();
    let order = initialization_order(ObjectId::PROGRAM, &objects);
    let runs = |id: &ObjectId| {
        let (object, member) = (&served.program[*id], &members[id.index()]);
        let is_idle = member.idle_constructors && member.idle_destructors;
        object.has_initialisation() && !is_idle
    };
    Numbers::to_bytes(order.into_iter().filter(runs).map(|id| id.0))
}

/// The arrays of constructors and destructors after relocation, and where they begin, if they are small and nobody can change
/// them.
fn arrays<'a>(library: &Library, object: &Object, served: &'a Served) -> Option<(u64, &'a [u8])> {
    let Dynamic { init_array, fini_array, .. } = object.dynamic;
    let ranges = [init_array, fini_array].into_iter().filter(|table| table.size > 0);
    let ranges = ranges.map(|table| table.vaddr.0..table.vaddr.0.saturating_add(table.size));
    let all = ranges.reduce(|all, range| all.start.min(range.start)..all.end.max(range.end))?;
    let relro = object.segments.relro.as_ref()?;
    let inside = relro.start.0 <= all.start && all.end <= relro.end.0 && all.end - all.start <= PAGE_SIZE;
    let placed = library.placed(&(Vaddr(all.start)..Vaddr(all.end)));
    inside.then(|| (all.start, served.memory.at(&placed)))
}

/// The dynamic section up to its end, for as long as the process lives, as far as the loader reads it. Where debuggers have an entry for themselves, it is left whole: its
/// place counts.
fn dynamic_section(object: &Object) -> &'static [u8] {
    const END: [u8; 16] = [0; 16];
    let bytes = object.view.from(object.summary.dynamic_section).unwrap_or_default();
    let (entries, _) = bytes.as_chunks::<16>();
    let end = entries.iter().position(|entry| entry[..8] == END[..8]).unwrap_or(0);
    let is_kept = |entry: &&[u8; 16]| object.dynamic.debug.is_some() || Dynamic::reads(tag_of(entry));
    let kept = entries[..end].iter().filter(is_kept).chain([&END]);
    kept.copied().collect::<Vec<_>>().leak().as_flattened()
}

fn tag_of(entry: &[u8; 16]) -> u64 {
    u64::from_le_bytes(*entry.first_chunk().unwrap_or(&[0; 8]))
}

/// What tools shall know: what is mapped, and what is in it.
fn describe(built: &Built, map: &FileMap, planned: &[Planned], places: &[Places]) -> (Vec<Part>, Vec<Part>) {
    let table = |name: String, pages: Range<u64>| Part {
        name,
        offset: Some(pages.start),
        pages,
        access: MemoryFlags::READ,
    };
    let mut users: HashMap<usize, &Served> = HashMap::new();
    let mut parts = Vec::new();
    for served in &built.programs {
        for (id, library) in served.program.ids().zip(&served.libraries) {
            let Some(index) = *library else { continue };
            if users.insert(index, served).is_some() {
                continue;
            }
            let (library, object) = (&built.libraries[index], &served.program[id]);
            let file = file_name(&library.name);
            for run in runs(library, object, is_sealed(served, id)) {
                if !run.access.is_empty() {
                    let offset = (run.content != Content::Zero).then(|| map.offset(run.pages.start));
                    let name = format!(".{}:{file}", kind(&run));
                    parts.push(Part { name, offset, access: run.access, pages: run.pages });
                }
            }
        }
    }
    parts.sort_unstable_by_key(|part| part.pages.start);
    let mapped = |part: &Part| Part { name: String::new(), pages: part.pages.clone(), ..*part };
    let tables = built.layout.windows[0].end..map.first;
    let mut loads = vec![table(String::new(), 0..PAGE_SIZE)];
    let split = parts.iter().position(|part| part.pages.start >= tables.start).unwrap_or(parts.len());
    loads.extend(parts[..split].iter().map(mapped));
    loads.push(table(String::new(), tables));
    loads.extend(parts[split..].iter().map(mapped));
    for ((planned, served), places) in planned.iter().zip(&built.programs).zip(places) {
        let mut at = places.tables;
        for (name, bytes) in TABLE_NAMES.iter().zip(&planned.tables) {
            let end = at + bytes.len() as u64;
            parts.push(table(format!(".morsel.{name}:{}", file_name(&served.path)), at..end));
            at = end;
        }
        let details = places.details..places.details + planned.details.len() as u64;
        parts.push(table(format!(".morsel.details:{}", file_name(&served.path)), details));
        if let Some(references) = &served.references {
            let pages = places.index..places.index + references.len() as u64;
            parts.push(table(format!(".morsel.references:{}", file_name(&served.path)), pages));
        }
    }
    (loads, parts)
}

/// The last part of a path.
pub fn file_name(path: &CStr) -> String {
    let name = path.to_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
