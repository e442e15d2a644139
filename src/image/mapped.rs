//! Mapping an image: its windows, the pages that are different from the rest of their window, and what is changed if the image
//! is not where it would be.

use alloc::vec::Vec;
use core::ops::Range;

use crate::elf::{PAGE_SIZE, RelrSlots, page_up};
use crate::sys::{self, Errno, File, Memory, MemoryFlags};

use super::check::Refusal;
use super::format::{FarWindow, Pages, Populate, ProgramEntry, Region, Source, Tables, Watch, WindowPart};

/// Where the image's pages are.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The address of its first page.
    pub start: u64,
    /// From the image's base to there.
    pub delta: u64,
}

impl Place {
    /// Where pages of the image are in the process.
    fn address(self, pages: &Pages) -> (u64, u64) {
        (self.start.wrapping_add(pages.start), pages.end - pages.start)
    }
}

/// An image's file, as far as its header tells.
pub struct Image<'a> {
    /// The file.
    pub file: &'a File,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the first window.
    pub window: u64,
    /// Where the program's tables are.
    pub entry: ProgramEntry,
}

/// A part of the first window; `None` if it is not in there, or is damaged.
pub fn part(window: &Range<u64>, part: &WindowPart) -> Option<&'static [u8]> {
    let start = window.start.checked_add(part.start)?;
    start.checked_add(part.size).filter(|&end| end <= window.end)?;
    // SAFETY: the first window stays mapped as long as somebody asks for its parts, which builders put where nobody writes.
    part.checked(unsafe { core::slice::from_raw_parts(start as *const u8, part.size as usize) })
}

/// The windows that are mapped; they go again if the image is not used in the end.
pub struct Mapped {
    windows: Vec<Range<u64>>,
    /// Who watches what is done with them.
    watch: Watch,
}

impl Mapped {
    /// Nothing is mapped yet.
    pub fn new(watch: Watch) -> Self {
        Self { windows: Vec::new(), watch }
    }

    /// Windows that were kept, to be dropped after all.
    pub fn again(windows: Vec<Range<u64>>) -> Self {
        Self { windows, watch: Watch::empty() }
    }

    /// Maps a window.
    ///
    /// # Errors
    /// [`Refusal::Taken`] if something else is there.
    pub fn add(&mut self, image: &Image<'_>, place: Place, window: &FarWindow) -> Result<(), Refusal> {
        let (address, length) = place.address(&window.pages);
        let file = Some((image.file, window.offset));
        let end = address.checked_add(length).ok_or(Refusal::Taken)?;
        if window.offset.checked_add(length).is_none_or(|end| end > page_up(image.size)) {
            return Err(Refusal::Damaged("a window outside of the file"));
        }
        let memory = Memory { length, access: window.access, file, populate: false, shared: false };
        match memory.map_free(address) {
            Ok(()) => self.windows.push(address..end),
            Err(Errno::EXIST) => return Err(Refusal::Taken),
            Err(errno) => return Err(Refusal::System("mmap", errno)),
        }
        self.read_by_pages(address..end)
    }

    /// The address of pages that lie in a window.
    fn locate(&self, place: Place, pages: &Pages) -> Result<(u64, u64), Refusal> {
        let (address, length) = place.address(pages);
        let within = |window: &Range<u64>| window.start <= address && length <= window.end - address;
        match self.windows.iter().any(|window| window.contains(&address) && within(window)) {
            true => Ok((address, length)),
            false => Err(Refusal::Damaged("pages outside of the windows")),
        }
    }

    /// Makes a region what it shall be.
    ///
    /// # Errors
    /// It is in no window, or the system refuses.
    pub fn change(&self, file: &File, place: Place, region: &Region) -> Result<(), Refusal> {
        let (address, length) = self.locate(place, &region.pages)?;
        let access = region.access;
        let from_file = |offset, populate| {
            let file = Some((file, offset));
            Memory { length, access, file, populate, shared: false }
        };
        let memory = match region.source {
            Source::Window => return self.protect(place, [region.pages.clone()], access),
            Source::File(offset) => from_file(offset, false),
            // What is populated is read in large pieces.
            Source::Written(offset) => from_file(offset, !self.watch.contains(Watch::PAGES)),
            Source::Zero => Memory { access, ..Memory::zeroed(length) },
        };
        // SAFETY: the pages lie in a window, which nobody else knows yet.
        unsafe { memory.map_over(address) }.map_err(|errno| Refusal::System("mmap", errno))
    }

    /// Changes what may be done with pages.
    ///
    /// # Errors
    /// They are in no window, or the system refuses.
    pub fn protect(
        &self,
        place: Place,
        all: impl IntoIterator<Item = Pages>,
        access: MemoryFlags,
    ) -> Result<(), Refusal> {
        for pages in all {
            let (address, length) = self.locate(place, &pages)?;
            // SAFETY: as in `change`.
            let done = unsafe { sys::change_protection(address, length, access) };
            done.map_err(|errno| Refusal::System("mprotect", errno))?;
        }
        Ok(())
    }

    /// Asks for huge pages. A kernel that has none is no reason not to use an image.
    ///
    /// # Errors
    /// The pages are in no window.
    pub fn advise(&self, place: Place, pages: &Pages) -> Result<(), Refusal> {
        let (address, length) = self.locate(place, pages)?;
        if self.watch.contains(Watch::PAGES) {
            return Ok(());
        }
        let _ = sys::advise_huge_pages(address..address + length);
        Ok(())
    }

    /// Maps pages at once. Where the kernel does not know how, they come one by one.
    ///
    /// # Errors
    /// The pages are in no window.
    pub fn populate(&self, place: Place, populate: &Populate) -> Result<(), Refusal> {
        let (address, length) = self.locate(place, &populate.pages)?;
        match populate.write {
            // What is watched are the pages that are wanted, not those that an image provides.
            _ if self.watch.contains(Watch::PAGES) => {}
            true => sys::populate_writable(address, length),
            false => sys::populate_readable(address, length),
        }
        Ok(())
    }

    /// Moves what the image's words point to. Their pages are writable.
    ///
    /// # Errors
    /// A word is in no window.
    pub fn rebase(&self, place: Place, words: &[u64]) -> Result<(), Refusal> {
        const WORD: u64 = size_of::<u64>() as u64;
        let mut current = 0..0;
        for slot in RelrSlots::new(words) {
            let address = place.start.wrapping_add(slot.0);
            if !current.contains(&address) || current.end - address < WORD {
                let holds = |window: &&Range<u64>| window.contains(&address) && window.end - address >= WORD;
                let window = self.windows.iter().find(holds);
                current = window.ok_or(Refusal::Damaged("a word outside of the windows"))?.clone();
            }
            let word = address as *mut u64;
            // SAFETY: in a window; the builder names writable pages only, and the checksum vouches for the table.
            unsafe { word.write_unaligned(word.read_unaligned().wrapping_add(place.delta)) };
        }
        Ok(())
    }

    /// Keeps the kernel from reading more of the file into the page cache than what is touched, if that is what is watched.
    fn read_by_pages(&self, pages: Range<u64>) -> Result<(), Refusal> {
        if !self.watch.contains(Watch::PAGES) {
            return Ok(());
        }
        sys::advise_no_readahead(pages).map_err(|errno| Refusal::System("madvise", errno))
    }

    /// If touched pages are watched, keeps the kernel from reading others of what has been mapped since. For code, from Linux 6.17
    /// on, that takes a mapping of its own for each page: the kernel reads several at once in spite of all advice.
    ///
    /// # Errors
    /// A region is in no window, or the system refuses: there can be 65,530 mappings.
    pub fn watch(&self, place: Place, tables: &Tables<'_>) -> Result<(), Refusal> {
        if !self.watch.contains(Watch::PAGES) {
            return Ok(());
        }
        let windows = tables.windows.iter().map(|window| (window.pages, window.access));
        let regions = tables.regions.iter().map(|region| (region.pages, region.access));
        for (pages, access) in windows.chain(regions) {
            let (address, length) = self.locate(place, &pages)?;
            self.read_by_pages(address..address + length)?;
            let pages = (address..address + length).step_by(2 * PAGE_SIZE as usize);
            for page in pages.filter(|_| access.contains(MemoryFlags::EXECUTE)) {
                let done = sys::advise_no_dump(page..page + PAGE_SIZE);
                done.map_err(|errno| Refusal::System("madvise", errno))?;
            }
        }
        Ok(())
    }

    /// The windows stay.
    pub fn keep(mut self) -> Vec<Range<u64>> {
        core::mem::take(&mut self.windows)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        for window in &self.windows {
            // SAFETY: mapped by us, and no reference into it is left.
            unsafe { sys::unmap(window.start, window.end - window.start) };
        }
    }
}
