//! The interface of the kernel module `morsel.ko` (`kernel/include/uapi/morsel.h`): shared page tables for regions of files.
//! Another kernel's interface for the same would stand beside this one.

use crate::layout::BigRegion;
use crate::sys::{self, Errno, File, MemoryFlags};

/// `MORSEL_ATTACH_MANY`: `_IOWR('M', 2, struct morsel_regions)`
const ATTACH_MANY: u32 = 3 << 30 | (size_of::<Regions>() as u32) << 16 | (b'M' as u32) << 8 | 2;
/// `MORSEL_REPLACE`: what is mapped there now gives way.
const REPLACE: u32 = 1 << 0;
/// `MORSEL_READY`: only what somebody else has filled; by itself a question.
const READY: u32 = 1 << 3;
/// `MORSEL_ADOPT`: what is mapped there as shared memory becomes it.
const ADOPT: u32 = 1 << 4;
/// `MORSEL_LAZY`: some page faults show first whether it is worth it.
const LAZY: u32 = 1 << 5;
/// `MORSEL_MAX_REGIONS`
pub const MOST_REGIONS: usize = 1024;

/// `struct morsel_region`
#[repr(C)]
#[derive(Debug)]
pub struct Region {
    fd: i32,
    prot: u32,
    offset: u64,
    length: u64,
    addr: u64,
    flags: u32,
    state: u32,
    error: i32,
    reason: u32,
}

/// `struct morsel_regions`
#[repr(C)]
struct Regions {
    regions: u64,
    count: u32,
    shared: u32,
    failed: u32,
    reserved: u32,
}

/// What is to be done with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To share it, in place of the private mapping that is there; it is filled if nobody has done so.
    Fill,
    /// Only to say whether somebody has filled it. Its address does not matter.
    Ask,
    /// To share it if somebody has filled it, in the shared mapping that is there, which becomes a private one otherwise.
    Adopt,
}

/// What became of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its page tables are shared with every process that has it.
    Shared,
    /// It is mapped as any file is, for this reason.
    Plain(&'static str),
    /// It may not be mapped any more.
    Failed,
}

impl Region {
    /// A region of `file`, and what to do with it.
    pub fn new(region: &BigRegion, file: &File, wish: Wish) -> Self {
        let mut prot = 0;
        for (flag, bit) in [(MemoryFlags::READ, 1), (MemoryFlags::WRITE, 2), (MemoryFlags::EXECUTE, 4)] {
            prot |= if region.flags.contains(flag) { bit } else { 0 };
        }
        Self {
            fd: file.descriptor(),
            prot,
            offset: region.file_offset,
            length: region.pages.end.0 - region.pages.start.0,
            addr: region.pages.start.0,
            flags: match wish {
                Wish::Fill => REPLACE,
                Wish::Ask => READY,
                Wish::Adopt => READY | ADOPT | LAZY,
            },
            // Should the kernel not come to it, it stays as it is.
            state: 0,
            error: 0,
            reason: 0,
        }
    }

    /// The kernel's answer.
    pub fn answer(&self) -> Answer {
        match self.state {
            1 => Answer::Shared,
            2 => Answer::Failed,
            _ => Answer::Plain(reason(self.reason)),
        }
    }
}

/// `MORSEL_WHY_*`
fn reason(number: u32) -> &'static str {
    match number {
        1 => "switched off",
        2 => "the process is traced",
        3 => "the process has more rights than its caller",
        4 => "the file may not be executed",
        5 => "unsuitable file system",
        6 => "the file is open for writing",
        7 => "no more memory may be kept",
        8 => "out of memory",
        9 => "input/output error",
        10 => "unusual mapping",
        11 => "interrupted",
        12 => "nobody has filled it",
        _ => "unknown reason",
    }
}

/// Attaches the regions, at most [`MOST_REGIONS`]. Each is answered by itself.
///
/// # Errors
/// What `ioctl` says. Regions may have been attached all the same.
///
/// # Safety
/// At the addresses of the regions, just these parts of their files are mapped, unchanged; unless they are only asked about.
pub unsafe fn attach(device: &File, regions: &mut [Region]) -> Result<(), Errno> {
    let count = regions.len().min(MOST_REGIONS) as u32;
    let mut request =
        Regions { regions: regions.as_mut_ptr() as u64, count, shared: 0, failed: 0, reserved: 0 };
    // SAFETY: the structures are those of the interface; what is replaced reads the same afterwards.
    unsafe { sys::control(device, ATTACH_MANY, (&raw mut request).cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!((size_of::<Region>(), size_of::<Regions>()), (48, 24));
        assert_eq!(ATTACH_MANY, 0xc018_4d02);
    }
}
