//! The backends for large regions: files are mapped as usual, but where a region fills pieces of 2 MiB, its page tables are
//! shared (morsels) or its pages may be huge.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::Range;

use log::Level;

use crate::elf::{Address, LoadBias, Segments};
use crate::layout::{Begins, BigRegion, PIECE, Placement, Plan};
use crate::sys::{self, Errno, File, Memory, MemoryFlags, Text};

use super::morsel::{self, Answer, Wish};
use super::{FileMapper, Mapper, Piecewise};

/// The kernel module's device.
const DEVICE: &CStr = c"/dev/morsel";

/// Fewer bytes are not worth a morsel. Attaching costs as much as about ten page faults, each of which maps 64 KiB: 512 KiB lose
/// however much of them is used, 1 MiB gains where a tenth is used (`docs/morsels.md`).
const LEAST_SHARED: u64 = 1 << 20;

/// Fewer bytes are not worth asking for a morsel by oneself: from here on it gains even where a hundredth is used, and the first
/// page faults are not yet shared.
const LEAST_READY: u64 = 8 << 20;

/// What is done with the pieces.
#[derive(Debug)]
enum Way {
    /// They are attached as morsels, or with `ready` those that somebody else has filled. The device is opened when the first
    /// object is worth it.
    Morsels { device: Option<File>, ready: bool },
    /// The kernel is asked for huge pages.
    Huge,
    /// Nothing: there is no such device.
    Plain,
}

/// Maps files, and makes the best of large regions.
#[derive(Debug)]
pub struct PieceMapper {
    files: FileMapper,
    way: Way,
    /// Mapped, but not attached yet.
    pending: Vec<(File, Vec<BigRegion>)>,
    done: Vec<Piecewise>,
}

impl PieceMapper {
    /// Shares page tables by `morsel.ko`; with `ready`, only what others have filled: who is alone pays nothing for what he may
    /// not need.
    pub fn with_morsels(files: FileMapper, ready: bool) -> Self {
        Self { files, way: Way::Morsels { device: None, ready }, pending: Vec::new(), done: Vec::new() }
    }

    /// Asks for huge pages.
    pub fn with_huge_pages(files: FileMapper) -> Self {
        Self { files, way: Way::Huge, pending: Vec::new(), done: Vec::new() }
    }

    /// Whether pieces are of any use. Opens the device.
    fn is_possible(&mut self) -> bool {
        if let Way::Morsels { device: device @ None, ready } = &mut self.way {
            match sys::open(DEVICE) {
                Ok(file) => *device = Some(file),
                Err(errno) => {
                    // Whoever did not ask for morsels need not know.
                    let level = if *ready { Level::Debug } else { Level::Warn };
                    log::log!(level, "no morsels: {}: {}", Text::from(DEVICE), sys::errno_text(errno));
                    self.way = Way::Plain;
                }
            }
        }
        !matches!(self.way, Way::Plain)
    }

    /// Whether somebody has filled any of the pieces: only then they are mapped in a way of their own.
    fn is_ready(&self, plan: &Plan, file: &File) -> bool {
        let Way::Morsels { device: Some(device), .. } = &self.way else { return false };
        let pieces = plan.pieces_anywhere();
        let mut asked: Vec<_> =
            pieces.iter().map(|region| morsel::Region::new(region, file, Wish::Ask)).collect();
        // SAFETY: nothing is attached.
        let answered = unsafe { morsel::attach(device, &mut asked) };
        for (region, asked) in pieces.iter().zip(&asked) {
            log::debug!("a region at {:#x} of the file: {:?}", region.file_offset, asked.answer());
        }
        answered.is_ok() && asked.iter().any(|region| region.answer() == Answer::Shared)
    }

    /// Attaches what is pending.
    fn attach(&mut self, device: &File, wish: Wish) {
        let pending = core::mem::take(&mut self.pending);
        let all: Vec<(&BigRegion, &File)> = pending
            .iter()
            .flat_map(|(file, regions)| regions.iter().map(move |region| (region, file)))
            .collect();
        for some in all.chunks(morsel::MOST_REGIONS) {
            let mut regions: Vec<_> =
                some.iter().map(|(region, file)| morsel::Region::new(region, file, wish)).collect();
            // SAFETY: `share` has been told that they are mapped so, and relocations write to other regions.
            if let Err(errno) = unsafe { morsel::attach(device, &mut regions) } {
                log::warn!("no morsels: {}", sys::errno_text(errno));
            }
            for ((region, file), answered) in some.iter().zip(&regions) {
                let state = match answered.answer() {
                    Answer::Shared => "shared",
                    Answer::Plain(reason) => reason,
                    Answer::Failed => {
                        restore(&region.pages, region.file_offset, region.flags, file);
                        "out of memory"
                    }
                };
                self.note(region, state);
            }
        }
    }

    fn note(&mut self, region: &BigRegion, state: &'static str) {
        log::debug!("{:?}-{:?}: {state}", region.pages.start, region.pages.end);
        self.done.push(Piecewise { pages: region.pages.clone(), state });
    }
}

impl Mapper for PieceMapper {
    fn name(&self) -> &'static str {
        self.files.name()
    }

    fn prepare(&mut self, plan: &mut Plan, file: &File) {
        let (begins, least, ready) = match self.way {
            Way::Morsels { ready: true, .. } => (Begins::WithRegion, LEAST_READY, true),
            Way::Morsels { .. } => (Begins::WithRegion, LEAST_SHARED, false),
            Way::Huge => (Begins::WithFile, PIECE, false),
            Way::Plain => return,
        };
        let usual = plan.placement;
        if !plan.prefer_pieces(begins, least) {
            return;
        }
        if !self.is_possible() || (ready && !self.is_ready(plan, file)) {
            plan.placement = usual;
        } else if ready {
            plan.map_pieces_shared();
        }
    }

    fn map(&mut self, plan: &Plan, file: &File) -> Result<Address, Errno> {
        self.files.map(plan, file)
    }

    fn map_libc(&mut self, plan: &Plan, segments: &Segments, file: &File) -> Option<Address> {
        self.files.map_libc(plan, segments, file)
    }

    fn share(&mut self, plan: &Plan, start: Address, file: File) {
        if !matches!(plan.placement, Placement::Aligned { to: PIECE, .. }) {
            return;
        }
        let regions = plan.big_regions(start);
        if let Way::Huge = self.way {
            for region in &regions {
                let whole = region.pages.start.0..region.pages.end.0;
                let state = match sys::advise_huge_pages(whole) {
                    Ok(()) => "huge pages allowed",
                    Err(errno) => sys::errno_text(errno),
                };
                self.note(region, state);
            }
        } else {
            self.pending.push((file, regions));
        }
    }

    fn keep_private(&mut self, plan: &Plan, start: Address, file: &File) {
        let bias = LoadBias::between(start, plan.span.start);
        for region in plan.regions.iter().filter(|region| region.shared) {
            let pages = bias.apply(region.pages.start)..bias.apply(region.pages.end);
            restore(&pages, region.file_offset.unwrap_or_default(), region.flags, file);
        }
    }

    fn forget(&mut self, pages: &Range<Address>) {
        let within = |region: &Range<Address>| pages.start <= region.start && region.start < pages.end;
        self.pending.retain(|(_, regions)| !regions.iter().any(|region| within(&region.pages)));
        self.done.retain(|piecewise| !within(&piecewise.pages));
    }

    fn settle(&mut self) {
        if let Way::Morsels { device, ready } = &mut self.way
            && let Some(device) = device.take()
        {
            let wish = if *ready { Wish::Adopt } else { Wish::Fill };
            self.attach(&device, wish);
        }
    }

    fn pieces(&self) -> &[Piecewise] {
        &self.done
    }
}

/// Maps part of a file in the usual way, over what is left of it. If that is not possible either, the process cannot go on.
fn restore(pages: &Range<Address>, offset: u64, access: MemoryFlags, file: &File) {
    let (length, file) = (pages.end.0 - pages.start.0, Some((file, offset)));
    let memory = Memory { length, access, file, populate: false, shared: false };
    // SAFETY: nothing else is there, and it reads the same as before.
    if let Err(errno) = unsafe { memory.map_over(pages.start.0) } {
        let (start, cause) = (pages.start, sys::errno_text(errno));
        let line = format_args!("{}memory at {start:?} is lost: {cause}\n", sys::MESSAGE_PREFIX);
        sys::print(sys::stderr(), line);
        sys::abort();
    }
}
