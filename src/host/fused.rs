//! The fused file: this loader and a stock libc in one ELF file, so that the kernel maps both and no libc need be opened.
//!
//! `morselctl fuse` leaves libc where it is linked, puts the loader behind it, and writes into the loader's own note how
//! far apart they are, and where libc begins.

use alloc::boxed::Box;
use core::arch::asm;
use core::ffi::CStr;

use goblin::elf64::program_header::SIZEOF_PHDR;

use crate::elf::{Address, ElfError, FileHeader};
use crate::image::{self, format::BuildId};
use crate::map::adopt;
use crate::program::Object;

/// An ELF note (gABI, "Note Section") in which stands where libc is, if the loader is fused with one.
#[repr(C)]
struct Note {
    name_size: u32,
    descriptor_size: u32,
    kind: u32,
    name: [u8; 12],
    /// Bytes from libc's ELF header to this loader's; zero in a loader that stands alone. Two words, as notes are aligned
    /// to four bytes.
    distance: [u32; 2],
    /// libc's ELF entry in the same way, counted from its ELF header.
    libc_entry: [u32; 2],
}

#[used]
#[unsafe(link_section = ".note.ld-morsel")]
static FUSED_NOTE: Note = Note {
    name_size: 10,
    descriptor_size: 16,
    kind: 1,
    name: *b"ld-morsel\0\0\0",
    distance: [0; 2],
    libc_entry: [0; 2],
};

/// The numbers in the note: distance and entry.
fn noted() -> [u64; 2] {
    let note: *const Note;
    // The compiler would take the address from a table, which has to be relocated first; and it must not know what is in the note.
    // SAFETY: the note is there.
    let Note { distance, libc_entry, .. } = unsafe {
        asm!("lea {}, [rip + {}]", out(reg) note, sym FUSED_NOTE, options(pure, nomem, nostack, preserves_flags));
        note.read_volatile()
    };
    [distance, libc_entry].map(|[low, high]| u64::from(low) | u64::from(high) << u32::BITS)
}

/// The file that the kernel has mapped this loader from.
#[derive(Clone, Copy, Debug)]
pub struct OwnFile {
    /// Its ELF header.
    pub start: Address,
    /// This loader's own, behind libc's if they are fused.
    loader: Address,
}

impl OwnFile {
    /// The file of a loader whose ELF header is at `loader`.
    pub fn of(loader: Address) -> Self {
        // Zero if we stand alone.
        let [distance, _] = noted();
        Self { start: Address(loader.0.wrapping_sub(distance)), loader }
    }

    /// Where the program headers of the file are: what the kernel says in `AT_PHDR` if the file itself has been called.
    ///
    /// # Errors
    /// What is wrong with its ELF header.
    ///
    /// # Safety
    /// The kernel has mapped the file.
    pub unsafe fn program_headers(&self) -> Result<Address, ElfError> {
        // SAFETY: the file begins with its header.
        let bytes = unsafe { core::slice::from_raw_parts(self.start.0 as *const u8, FileHeader::SIZE) };
        Ok(Address(self.start.0.wrapping_add(FileHeader::parse(bytes)?.phoff)))
    }

    /// The build ID of this loader, if it has one of the usual kind.
    ///
    /// # Safety
    /// The kernel has mapped the file.
    pub unsafe fn build_id(&self) -> Option<BuildId> {
        let start = self.loader.0;
        // SAFETY: the loader begins with its header, and its program headers and notes are mapped with it.
        unsafe {
            let bytes =
                |at: u64, size| core::slice::from_raw_parts(start.wrapping_add(at) as *const u8, size);
            let header = FileHeader::parse(bytes(0, FileHeader::SIZE)).ok()?;
            let table = bytes(header.phoff, usize::from(header.phnum) * SIZEOF_PHDR);
            image::check::build_id(table, |note| {
                Some(bytes(note.p_vaddr, usize::try_from(note.p_memsz).ok()?))
            })
        }
    }

    /// The ELF entry of the libc that is in the file, if one is.
    pub fn libc_entry(&self) -> Option<Address> {
        let [_, entry] = noted();
        let entry = Address(self.start.0.wrapping_add(entry));
        (self.start != self.loader).then_some(entry)
    }

    /// The libc that is in the file, if one is.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Safety
    /// As for [`OwnFile::program_headers`]; the file stays mapped.
    pub unsafe fn libc(&self, name: &CStr) -> Option<Result<Box<Object>, ElfError>> {
        // SAFETY: passed on to the caller.
        (self.start != self.loader).then(|| unsafe { adopt::fused_libc(name, self.start, self.loader) })
    }
}
