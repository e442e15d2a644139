//! What may be fused, and whether the result is what it should be.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use goblin::elf64::header::ET_DYN;
use goblin::elf64::program_header::{PT_GNU_RELRO, PT_INTERP, PT_LOAD};
use ld_morsel::elf::{PAGE_SIZE, Vaddr, page_up};

use super::image::{ALIGNMENT, loader_distance};
use crate::elf_file::{ElfFile, MorselNote, is_writable};

/// Refuses what is not a stock musl.
pub fn libc(libc: &ElfFile) -> Result<()> {
    let name = libc.path.display();
    if is_fused(libc) {
        bail!("{name}: already fused; take the stock libc.so");
    }
    if libc.morsel_note().is_some() {
        bail!("{name}: this is ld-morsel itself; take musl's libc.so");
    }
    // The names by which musl knows another libc (load_library); others have symbol versions, musl has none.
    let is_a_libc = libc.definition("__libc_start_main")?.is_some() && libc.definition("stdin")?.is_some();
    if !is_a_libc {
        bail!("{name}: not a libc (it does not define __libc_start_main and stdin)");
    }
    if libc.dynamic()?.verdef.is_some() {
        bail!("{name}: not musl's libc (it has symbol versions, as glibc's)");
    }
    // Where the fused loader enters libc: the ELF entry will be its own.
    let entry = libc.definition("_dlstart")?.map(|symbol| symbol.vaddr());
    if entry != Some(Vaddr(libc.header.e_entry)) || !libc.segments.is_code(Vaddr(libc.header.e_entry)) {
        bail!("{name}: not musl's libc (its entry is not _dlstart)");
    }
    common(libc)
}

/// Refuses what is not a loader that stands alone.
pub fn loader(loader: &ElfFile) -> Result<MorselNote> {
    let name = loader.path.display();
    let Some(note) = loader.morsel_note() else {
        bail!("{name}: not an ld-morsel (it has no note of that owner)")
    };
    if note.distance != 0 {
        bail!("{name}: already fused");
    }
    if !loader.segments.is_code(Vaddr(loader.header.e_entry)) {
        bail!("{name}: its entry is not code");
    }
    // libc keeps its address, and with it any alignment.
    if let Some(load) = loader.loads().find(|load| load.p_align > ALIGNMENT) {
        bail!("{name}: linked for pages of {:#x} bytes; link it with -z max-page-size=4096", load.p_align);
    }
    common(loader)?;
    Ok(note)
}

/// Whether the file is a result of ours.
pub fn is_fused(file: &ElfFile) -> bool {
    file.morsel_note().is_some_and(|note| note.distance != 0)
}

fn common(file: &ElfFile) -> Result<()> {
    let name = file.path.display();
    if file.header.e_type != ET_DYN || file.program_headers.iter().any(|header| header.p_type == PT_INTERP) {
        bail!("{name}: not a shared object");
    }
    let loads: Vec<_> = file.loads().collect();
    if !loads.is_sorted_by_key(|load| load.p_vaddr) || loads[0].p_vaddr != 0 || loads[0].p_offset != 0 {
        bail!("{name}: its segments are not in order from address 0");
    }
    // Two segments on one page cannot both have a page of the file of their own.
    let shared = |pair: &[&_]| {
        let [low, high]: [&goblin::elf64::program_header::ProgramHeader; 2] = [pair[0], pair[1]];
        page_up(low.p_vaddr + low.p_memsz) > high.p_vaddr && is_writable(low) != is_writable(high)
    };
    if loads.windows(2).any(shared) {
        bail!("{name}: two segments share a page");
    }
    Ok(())
}

/// Verifies the fused file as if somebody else had made it.
pub fn result(libc: &ElfFile, loader: &ElfFile, bytes: &[u8], distance: u64) -> Result<()> {
    let fused = ElfFile::parse(Path::new("fused file"), bytes.to_vec())?;
    let header = &fused.header;
    let found = fused.morsel_note().map(|note| note.distance);
    ensure!(found == Some(distance) && distance == loader_distance(libc), "the note says {found:?}");
    ensure!(header.e_entry == loader.header.e_entry + distance, "wrong entry");

    let loads: Vec<_> = fused.loads().collect();
    ensure!(loads.is_sorted_by_key(|load| load.p_vaddr), "segments out of order");
    ensure!(loads.iter().all(|load| load.p_filesz == load.p_memsz), "zeros that old kernels do not supply");
    ensure!(loads.iter().all(|load| load.p_offset == load.p_vaddr), "offsets are not addresses");
    let mut own = loads.iter().filter(|load| load.p_vaddr + load.p_memsz > distance);
    ensure!(!own.clone().any(|load| is_writable(load)), "musl would give parts of the loader to malloc");
    // Up to Linux 6.6, the kernel zeroes the rest of an interpreter's last page, if there is any, and fails if it may not.
    ensure!(own.all(|load| load.p_memsz.is_multiple_of(PAGE_SIZE)), "the loader does not end with a page");
    let table_end = header.e_phoff + u64::from(header.e_phnum) * u64::from(header.e_phentsize);
    let holder =
        loads.iter().find(|load| load.p_vaddr <= header.e_phoff && table_end <= load.p_vaddr + load.p_filesz);
    ensure!(holder.is_some_and(|load| !is_writable(load)), "the program headers are not loaded read-only");
    ensure!(
        !fused.program_headers.iter().any(|h| h.p_type == PT_GNU_RELRO && h.p_vaddr >= distance),
        "musl would protect the loader's data"
    );

    let header_size = size_of_val(header) as u64;
    let note = loader.morsel_note().map(|note| note.descriptor).unwrap_or_default();
    for load in libc.loads() {
        let skipped = if load.p_offset == 0 { header_size } else { 0 };
        let original = libc.range(load.p_offset + skipped, load.p_filesz - skipped);
        let copy = fused.range(load.p_vaddr + skipped, load.p_filesz - skipped);
        ensure!(original == copy, "libc is not what it was");
        let zeros = fused.range(load.p_vaddr + load.p_filesz, load.p_memsz - load.p_filesz);
        ensure!(zeros.iter().all(|&byte| byte == 0), "libc's zeroed data are not zero");
    }
    for load in loader.loads() {
        let copy = fused.range(load.p_vaddr + distance, load.p_filesz);
        let offset = load.p_offset as usize;
        let same = |(at, (a, b)): (usize, (&u8, &u8))| a == b || note.contains(&(offset + at));
        ensure!(loader.content(load).iter().zip(copy).enumerate().all(same), "the loader is not what it was");
    }
    ensure!(fused.sections.len() >= libc.sections.len(), "sections are missing");
    ensure!(
        fused.program_headers.iter().filter(|h| h.p_type == PT_LOAD).count() == loads.len(),
        "empty segments"
    );
    Ok(())
}
