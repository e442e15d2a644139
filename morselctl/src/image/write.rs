//! From what has been built to the file: the window byte for byte, and behind it what makes an ELF file of it.

use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use goblin::elf64::header::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN, EV_CURRENT, Header as ElfHeader,
};
use goblin::elf64::program_header::{PF_R, PF_W, PF_X, PT_LOAD, ProgramHeader};
use goblin::elf64::section_header::{
    SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS, SHT_NULL, SHT_PROGBITS, SHT_STRTAB, SectionHeader,
};
use ld_morsel::elf::{PAGE_SIZE, Segments, page_up};
use ld_morsel::image::format::{
    Content, HEADER_AT, Header, Input, Key, Member, Region, Role, TABLE_NAMES, Tables, VERSION,
};
use ld_morsel::layout::PageClass;
use ld_morsel::program::{Object, ObjectId, Origin};
use ld_morsel::sys::MemoryFlags;

use super::build::Built;
use super::world::Part;
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
        program_headers: built.program_headers,
    };
    let inputs = built.world.inputs.iter().map(|(path, stamp)| Input { path, stamp: *stamp }).collect();
    let tables = Tables {
        key,
        inputs,
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

/// What makes an ELF file of the window: the header for its beginning, and all that comes behind it.
fn frame(
    base: u64,
    window: u64,
    tables_at: u64,
    sizes: &[usize; TABLE_NAMES.len()],
    members: &[Member<'_>],
) -> (ElfHeader, Vec<u8>) {
    let mut sections = Sections::new(base);
    let mut headers = vec![program_header(base, 0..PAGE_SIZE, MemoryFlags::READ, true)];
    for member in members {
        let file = member.name.to_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let file = String::from_utf8_lossy(file);
        for region in member.regions.iter().filter(|region| !region.access.is_empty()) {
            let access = match region.content {
                Content::Sealed => MemoryFlags::READ,
                Content::File | Content::Zero => region.access,
            };
            let in_file = region.content != Content::Zero;
            headers.push(program_header(base, region.range.clone(), access, in_file));
            let kind = match (region.content, access) {
                (Content::Zero, _) => "bss",
                (Content::Sealed, _) => "data.rel.ro",
                (_, access) if access.contains(MemoryFlags::EXECUTE) => "text",
                (_, access) if access.contains(MemoryFlags::WRITE) => "data",
                _ => "rodata",
            };
            sections.add(&format!(".{kind}:{file}"), region.range.clone(), access, in_file);
        }
    }
    headers.push(program_header(base, tables_at..window, MemoryFlags::READ, true));
    let mut at = tables_at;
    for (name, size) in TABLE_NAMES.iter().zip(sizes) {
        let end = at + *size as u64;
        sections.add(&format!(".morsel.{name}"), at..end, MemoryFlags::READ, true);
        at = end;
    }
    let mut rest: Vec<u8> = headers.iter().flat_map(|header| record(header).to_vec()).collect();
    let (section_headers, count, names) = sections.finish(&mut rest, window);
    let mut header = ElfHeader {
        e_type: ET_DYN,
        e_machine: EM_X86_64,
        e_version: EV_CURRENT.into(),
        e_phoff: window,
        e_shoff: section_headers,
        e_ehsize: size_of::<ElfHeader>() as u16,
        e_phentsize: size_of::<ProgramHeader>() as u16,
        e_phnum: headers.len() as u16,
        e_shentsize: size_of::<SectionHeader>() as u16,
        e_shnum: count,
        e_shstrndx: names,
        ..ElfHeader::default()
    };
    header.e_ident[..4].copy_from_slice(ELFMAG);
    header.e_ident[4..7].copy_from_slice(&[ELFCLASS64, ELFDATA2LSB, EV_CURRENT]);
    (header, rest)
}

fn program_header(
    base: u64,
    range: std::ops::Range<u64>,
    access: MemoryFlags,
    in_file: bool,
) -> ProgramHeader {
    let size = range.end - range.start;
    let flag = |access_flag, flag| if access.contains(access_flag) { flag } else { 0 };
    ProgramHeader {
        p_type: PT_LOAD,
        p_flags: flag(MemoryFlags::READ, PF_R)
            | flag(MemoryFlags::WRITE, PF_W)
            | flag(MemoryFlags::EXECUTE, PF_X),
        p_offset: range.start,
        p_vaddr: base + range.start,
        p_paddr: base + range.start,
        p_filesz: if in_file { size } else { 0 },
        p_memsz: size,
        p_align: PAGE_SIZE,
    }
}

/// Section headers and their names.
struct Sections {
    base: u64,
    headers: Vec<SectionHeader>,
    names: Vec<u8>,
}

impl Sections {
    fn new(base: u64) -> Self {
        Self {
            base,
            headers: vec![SectionHeader { sh_type: SHT_NULL, ..Default::default() }],
            names: vec![0],
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        let at = self.names.len() as u32;
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        at
    }

    fn add(&mut self, name: &str, range: std::ops::Range<u64>, access: MemoryFlags, in_file: bool) {
        let flag = |access_flag, flag| if access.contains(access_flag) { flag } else { 0 };
        let flags =
            SHF_ALLOC | flag(MemoryFlags::WRITE, SHF_WRITE) | flag(MemoryFlags::EXECUTE, SHF_EXECINSTR);
        let header = SectionHeader {
            sh_name: self.name(name),
            sh_type: if in_file { SHT_PROGBITS } else { SHT_NOBITS },
            sh_flags: flags.into(),
            sh_addr: self.base + range.start,
            sh_offset: range.start,
            sh_size: range.end - range.start,
            sh_addralign: 8,
            ..SectionHeader::default()
        };
        self.headers.push(header);
    }

    /// Appends all of it to what comes at `at` in the file. Where the headers are, how many, and which has the names.
    fn finish(mut self, to: &mut Vec<u8>, at: u64) -> (u64, u16, u16) {
        let name = self.name(".shstrtab");
        let names = SectionHeader {
            sh_name: name,
            sh_type: SHT_STRTAB,
            sh_offset: at + to.len() as u64,
            sh_size: self.names.len() as u64,
            sh_addralign: 1,
            ..SectionHeader::default()
        };
        self.headers.push(names);
        to.extend_from_slice(&self.names);
        to.resize(to.len().next_multiple_of(8), 0);
        let start = at + to.len() as u64;
        to.extend(self.headers.iter().flat_map(|header| record(header).to_vec()));
        (start, self.headers.len() as u16, self.headers.len() as u16 - 1)
    }
}

fn record<T: plain::Plain>(value: &T) -> &[u8] {
    // SAFETY: the three kinds of ELF header (gABI chapters 4 and 5) are naturally aligned, without padding.
    unsafe { plain::as_bytes(value) }
}
