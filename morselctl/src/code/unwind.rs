//! What the unwind tables know of code: where functions begin and end, and which distances the tables themselves hold.
//!
//! The tables are read by gimli; where the distances stand in them is found beside it.

use std::ops::Range;

use gimli::{BaseAddresses, CieOrFde, DwEhPe, EhFrame, EndianSlice, LittleEndian, Reader, UnwindSection};
use ld_morsel::elf::Vaddr;

use super::Uncertain;
use super::file::{File, Section};
use super::reference::Field;

/// A distance in the unwind tables: from where it stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    /// Where it stands.
    pub field: Field,
    /// What it leads to.
    pub target: Vaddr,
}

/// What the tables say.
#[derive(Default)]
pub struct Unwind {
    /// Functions, one for each frame description.
    pub functions: Vec<Range<Vaddr>>,
    /// Where the entries of `.eh_frame` begin, in order.
    pub frames: Vec<Vaddr>,
    /// All distances, in `.eh_frame` and in the tables of handlers.
    pub pointers: Vec<Pointer>,
}

pub(super) type Slice<'a> = EndianSlice<'a, LittleEndian>;

impl Unwind {
    /// Reads `.eh_frame` and all that it leads to.
    pub fn read(file: &File<'_>) -> Result<Self, Uncertain> {
        let mut unwind = Self::default();
        let Some(section) = file.section(".eh_frame") else { return Ok(unwind) };
        let start = section.range.start;
        let damaged = |error: gimli::Error| Uncertain::Unwind(start, error.to_string());
        let frames = EhFrame::new(section.bytes, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame(start.0);
        let mut entries = frames.entries(&bases);
        let mut handlers = Vec::new();
        while let Some(entry) = entries.next().map_err(damaged)? {
            let offset = match &entry {
                CieOrFde::Cie(cie) => cie.offset(),
                CieOrFde::Fde(fde) => fde.offset(),
            };
            unwind.frames.push(Vaddr(start.0 + offset as u64));
            match entry {
                CieOrFde::Cie(cie) => {
                    if let Some((encoding, _)) = cie.personality_with_encoding() {
                        let at = personality_offset(section, cie.offset())
                            .ok_or_else(|| Uncertain::Unwind(start, "an unknown augmentation".to_owned()))?;
                        unwind.pointers.extend(pointer(section, at, encoding)?);
                    }
                }
                CieOrFde::Fde(partial) => {
                    let fde = partial.parse(EhFrame::cie_from_offset).map_err(damaged)?;
                    let (begin, end) = (Vaddr(fde.initial_address()), Vaddr(fde.end_address()));
                    if begin < end {
                        unwind.functions.push(begin..end);
                    }
                    // The length is of four bytes: gimli's offsets count from the section's beginning.
                    let mut at = fde.offset() + 8;
                    let address = fde.cie().fde_address_encoding().unwrap_or(gimli::DW_EH_PE_absptr);
                    unwind.pointers.extend(pointer(section, at, address)?);
                    if let (Some(encoding), Some(handler)) = (fde.cie().lsda_encoding(), fde.lsda()) {
                        at += 2 * width(section, at, address)?;
                        let mut rest = slice(section, at)?;
                        rest.read_uleb128().map_err(damaged)?;
                        unwind.pointers.extend(pointer(section, section.bytes.len() - rest.len(), encoding)?);
                        handlers.push(Vaddr(handler.pointer()));
                    }
                }
            }
        }
        handlers.sort_unstable();
        handlers.dedup();
        for handler in handlers.into_iter().filter(|handler| handler.0 != 0) {
            unwind.pointers.extend(super::handlers::pointers(file, handler)?);
        }
        unwind.pointers.sort_unstable();
        unwind.pointers.dedup();
        Ok(unwind)
    }
}

/// The distances in `.eh_frame_hdr`: to the unwind tables, and the table that is searched for them. The latter count from the
/// section's beginning, which is in the same unit as they are.
pub fn search_table(file: &File<'_>) -> Result<Vec<Pointer>, Uncertain> {
    const SORTED: DwEhPe = DwEhPe(gimli::DW_EH_PE_datarel.0 | gimli::DW_EH_PE_sdata4.0);
    let Some(section) = file.section(".eh_frame_hdr") else { return Ok(Vec::new()) };
    let start = section.range.start;
    let other = || Uncertain::Unwind(start, "a search table of an unknown kind".to_owned());
    let [1, frames, count, table] = section.bytes.first_chunk().copied().ok_or_else(other)? else {
        return Err(other());
    };
    let mut pointers: Vec<Pointer> = pointer(section, 4, DwEhPe(frames))?.into_iter().collect();
    if DwEhPe(count) == gimli::DW_EH_PE_omit {
        return Ok(pointers);
    }
    let at = 4 + width(section, 4, DwEhPe(frames))?;
    if DwEhPe(count) != gimli::DW_EH_PE_udata4 || DwEhPe(table) != SORTED {
        return Err(other());
    }
    let mut rest = slice(section, at)?;
    let damaged = |error: gimli::Error| Uncertain::Unwind(start, error.to_string());
    for _ in 0..2 * u64::from(rest.read_u32().map_err(damaged)?) {
        let at = Vaddr(start.0 + (section.bytes.len() - rest.len()) as u64);
        let distance = i64::from(rest.read_i32().map_err(damaged)?);
        pointers.push(Pointer {
            field: Field { at, width: 4 },
            target: Vaddr(start.0.wrapping_add_signed(distance)),
        });
    }
    Ok(pointers)
}

/// Where a common entry's pointer to the personality routine is in `.eh_frame`.
fn personality_offset(section: &Section<'_>, cie: usize) -> Option<usize> {
    // Behind length (four bytes), id (four bytes) and version.
    let mut rest = slice(section, cie + 8).ok()?;
    let version = rest.read_u8().ok()?;
    let augmentation = rest.read_null_terminated_slice().ok()?;
    rest.read_uleb128().ok()?;
    rest.read_sleb128().ok()?;
    match version {
        1 => rest.read_u8().ok().map(u64::from)?,
        _ => rest.read_uleb128().ok()?,
    };
    let letters = augmentation.slice().strip_prefix(b"z")?;
    rest.read_uleb128().ok()?;
    for letter in letters {
        match letter {
            b'P' => return Some(section.bytes.len() - rest.len() + 1),
            b'L' | b'R' => rest.read_u8().map(drop).ok()?,
            b'S' | b'B' => {}
            _ => return None,
        }
    }
    None
}

/// The distance at an offset in a section; `None` if it is not there or zero, which means nothing.
pub(super) fn pointer(
    section: &Section<'_>,
    offset: usize,
    encoding: DwEhPe,
) -> Result<Option<Pointer>, Uncertain> {
    if encoding == gimli::DW_EH_PE_omit {
        return Ok(None);
    }
    let at = Vaddr(section.range.start.0 + offset as u64);
    let width = width(section, offset, encoding)?;
    let mut word = slice(section, offset)?;
    let value = match width {
        2 => word.read_i16().map(i64::from),
        4 => word.read_i32().map(i64::from),
        _ => word.read_i64(),
    };
    let value = value.map_err(|error| Uncertain::Unwind(at, error.to_string()))?;
    match encoding.application() {
        _ if value == 0 => Ok(None),
        gimli::DW_EH_PE_pcrel => {
            let target = Vaddr(at.0.wrapping_add_signed(value));
            Ok(Some(Pointer { field: Field { at, width: width as u8 }, target }))
        }
        _ => Err(Uncertain::Unwind(at, format!("a pointer of encoding {:#x}", encoding.0))),
    }
}

/// Bytes of a pointer.
pub(super) fn width(section: &Section<'_>, offset: usize, encoding: DwEhPe) -> Result<usize, Uncertain> {
    match encoding.format() {
        gimli::DW_EH_PE_udata2 | gimli::DW_EH_PE_sdata2 => Ok(2),
        gimli::DW_EH_PE_udata4 | gimli::DW_EH_PE_sdata4 => Ok(4),
        gimli::DW_EH_PE_udata8 | gimli::DW_EH_PE_sdata8 | gimli::DW_EH_PE_absptr => Ok(8),
        _ => {
            let at = Vaddr(section.range.start.0 + offset as u64);
            Err(Uncertain::Unwind(at, format!("a pointer of encoding {:#x}", encoding.0)))
        }
    }
}

/// What a section has from an offset on.
pub(super) fn slice<'a>(section: &Section<'a>, offset: usize) -> Result<Slice<'a>, Uncertain> {
    let bytes = section.bytes.get(offset..);
    let at = section.range.start;
    let bytes = bytes.ok_or_else(|| Uncertain::Unwind(at, format!("nothing at offset {offset:#x}")))?;
    Ok(EndianSlice::new(bytes, LittleEndian))
}
