//! From what has been built to the file: the window byte for byte, and behind it what makes an ELF file of it (`frame`).

use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use ld_morsel::elf::{PAGE_SIZE, Segments, page_up};
use ld_morsel::image::format::{Content, HEADER_AT, Header, Key, Member, Region, Role, Tables, VERSION};
use ld_morsel::layout::PageClass;
use ld_morsel::program::{Object, ObjectId, Origin};
use ld_morsel::sys::MemoryFlags;

use super::build::Built;
use super::frame::frame;
use super::world::Part;
use crate::elf_file::record;
use crate::write::Pending;

/// Zeros of so many pages are not in the file.
const MANY_ZEROS: usize = 16;

/// What has been written.
pub struct Written {
    /// Bytes of the window.
    pub window: u64,
    /// Bytes of the tables.
    pub tables: u64,
    /// How many libraries, libc included, are in the image.
    pub members: usize,
    /// How many of them have pages for relocation only that stay writable until the process has done its part.
    pub unsealed: usize,
}

/// Writes the image to `target`.
///
/// # Errors
/// It cannot be written; nothing has changed then.
pub fn write(built: &mut Built, target: &Path) -> Result<Written> {
    let members = members(built);
    let rebase = relr(&built.rebase);
    let [library_path, preload, libc] = built.wishes;
    let key = Key {
        library_path,
        preload,
        libc,
        origin: built.world.asked_for_origin.then_some(&built.path),
        program: built.file,
        fingerprint: built.fingerprint,
    };
    let tables = Tables {
        key,
        inputs: built.world.inputs(),
        members: members.clone(),
        late: built.late.clone(),
        interposed: built.interposed.clone(),
        rebase: &rebase,
    };
    let tables_at = page_up(built.world.end);
    let parts = tables.to_bytes();
    let bytes = parts.concat();
    let window = page_up(tables_at + bytes.len() as u64);
    let mut header = Header {
        version: VERSION,
        loader: built.loader,
        base: built.base,
        window,
        tables: tables_at,
        tables_size: bytes.len() as u64,
        checksum: 0,
    };
    header.checksum = header.expected_checksum(&bytes);
    let sizes = parts.each_ref().map(Vec::len);
    let (elf, rest) = frame(built.base, window, tables_at, &sizes, &members);

    let mode = if built.world.readable_by_all { 0o444 } else { 0o400 };
    let pending = Pending::create(target, |path| {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all_at(record(&elf), 0)?;
        file.write_all_at(&header.to_bytes(), HEADER_AT as u64)?;
        for part in &built.world.parts {
            write_sparsely(&file, &part.memory, part.start.0 - built.base)?;
        }
        file.write_all_at(&bytes, tables_at)?;
        file.write_all_at(&rest, window)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    })?;
    pending.commit().with_context(|| target.display().to_string())?;
    let in_image = || members.iter().filter(|member| matches!(member.role, Role::Library | Role::Libc));
    let libraries = || in_image().filter(|member| member.role == Role::Library);
    let sealed = |member: &&Member<'_>| member.regions.iter().any(|region| region.content == Content::Sealed);
    let has_relro = |member: &&Member<'_>| {
        Segments::parse(member.header_table)
            .is_ok_and(|segments| segments.relro.is_some_and(|relro| relro.start < relro.end))
    };
    Ok(Written {
        window,
        tables: bytes.len() as u64,
        members: in_image().count(),
        unsealed: libraries().filter(|member| has_relro(member) && !sealed(member)).count(),
    })
}

/// Writes all that is not zero, in large pieces: the kernel keeps what is written at once together.
fn write_sparsely(file: &fs::File, memory: &[u8], at: u64) -> io::Result<()> {
    const PIECE: usize = 2 << 20;
    for (offset, piece) in (at..).step_by(PIECE).zip(memory.chunks(PIECE)) {
        if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
            file.write_all_at(&piece[..=last], offset)?;
        }
    }
    Ok(())
}

/// The objects as the tables have them. Names and tables live as long as the process.
fn members(built: &mut Built) -> Vec<Member<'static>> {
    let Built { program, world, base, late, .. } = built;
    let mut members = Vec::new();
    for (id, object) in program.iter() {
        let role = match object.origin {
            Origin::Kernel => Role::Program,
            Origin::Libc => Role::Libc,
            Origin::Loader | Origin::Vdso => Role::Loader,
            Origin::File => Role::Library,
        };
        let mut late = late.iter().filter(|late| ObjectId(late.object) == id);
        let unsealed = late.any(|late| {
            object.segments.relro.as_ref().is_some_and(|relro| {
                relro.start.0 < late.relocation.slot.0 + 16 && late.relocation.slot < relro.end
            })
        });
        let seal = role == Role::Library && !unsealed;
        let part = matches!(role, Role::Library | Role::Libc)
            .then(|| world.part_at(object.mapping.pages.start))
            .flatten();
        let bias = object.mapping.bias;
        members.push(Member {
            role,
            name: leak(&object.name),
            identity: object.identity.filter(|_| part.is_some()),
            has_short_name: program.notes(id).short_name.is_some(),
            needed_by: object.needed_by.map(|id| id.0),
            dependencies: object.dependencies.iter().map(|id| id.0).collect(),
            tls: object.tls,
            place: bias.0.wrapping_sub(*base),
            entry: bias.unapply(object.entry).0,
            headers: object
                .program_headers
                .map(|(address, count)| (bias.unapply(address).0, u32::from(count))),
            header_table: part.as_ref().map_or(&[][..], |part| part.header_table.clone().leak()),
            dynamic: part.as_ref().map_or(&[][..], |_| dynamic_section(object)),
            gnu_hash: object.symbols.gnu_hash_head(),
            regions: part.map_or_else(Vec::new, |part| regions(part, object, seal, *base)),
        });
    }
    members
}

fn leak(text: &CStr) -> &'static CStr {
    Box::leak(text.into())
}

/// The dynamic section up to its end.
fn dynamic_section(object: &Object) -> &'static [u8] {
    const ENTRY: usize = 16;
    let bytes = object.view.from(object.dynamic_section).unwrap_or_default();
    let end = bytes.chunks_exact(ENTRY).position(|entry| entry[..8] == [0; 8]);
    &bytes[..(end.map_or(0, |end| end + 1)) * ENTRY]
}

/// The pages of an object, one run of equal ones after the other.
fn regions(part: &Part, object: &Object, seal: bool, base: u64) -> Vec<Region> {
    let page = |vaddr: u64| ((vaddr - part.plan.span.start.0) / PAGE_SIZE) as usize;
    let mut pages = vec![(MemoryFlags::empty(), Content::File); page(part.plan.span.end.0)];
    for region in &part.plan.regions {
        let range = page(region.pages.start.0)..page(region.pages.end.0);
        let content = match region.class {
            PageClass::Zero if range.len() >= MANY_ZEROS => Content::Zero,
            _ => Content::File,
        };
        pages[range].fill((region.flags, content));
    }
    if let Some(relro) = object.segments.relro.as_ref().filter(|relro| seal && relro.start < relro.end) {
        for (flags, content) in &mut pages[page(relro.start.0)..page(relro.end.0)] {
            if flags.contains(MemoryFlags::WRITE) && *content == Content::File {
                *content = Content::Sealed;
            }
        }
    }
    let start = part.start.0 - base;
    let mut next = 0;
    let runs = pages.chunk_by(|a, b| a == b).map(|run| {
        let range = start + next * PAGE_SIZE..start + (next + run.len() as u64) * PAGE_SIZE;
        next += run.len() as u64;
        Region { range, access: run[0].0, content: run[0].1 }
    });
    runs.collect()
}

/// The words in the form of `DT_RELR`.
fn relr(slots: &[u64]) -> Vec<u64> {
    let mut words = Vec::new();
    let mut rest = slots.iter().copied().peekable();
    while let Some(first) = rest.next() {
        words.push(first);
        let mut from = first + 8;
        loop {
            let mut bitmap = 0;
            while let Some(slot) = rest.next_if(|slot| (*slot - from) / 8 < 63) {
                bitmap |= 2 << ((slot - from) / 8);
            }
            if bitmap == 0 {
                break;
            }
            words.push(bitmap | 1);
            from += 63 * 8;
        }
    }
    words
}
