//! Where libraries are in an image. Units of libraries whose segments are far apart are gathered: what begins in the same half
//! gibibyte of its library lies in the same window, with all distances intact. Every other library is in the first window, in its
//! own shape.

use std::ops::Range;

use anyhow::{Result, bail};
use ld_morsel::elf::PAGE_SIZE;
use ld_morsel::layout::PageClass;

use super::library::{Library, Unit};

/// Bytes of address space from one window to the next.
pub const WINDOW: u64 = 512 << 20;

/// The window that a unit belongs to.
pub fn window_of(unit: &Unit) -> u64 {
    unit.pages.start.0 / WINDOW
}

/// A huge page, in bytes: what one entry of a page directory maps.
pub const HUGE_PAGE: u64 = 2 << 20;

/// The shape of a library. One class comes behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// In one piece.
    Whole,
    /// Read-only data in one piece, perhaps with code, everything else far away.
    Far,
    /// The same, but all in the first piece may be executed.
    FarCode,
}

/// The shape of a library.
pub fn class(library: &Library) -> Class {
    let text = |unit: &Unit| {
        let mut regions =
            library.plan.regions.iter().filter(|region| unit.pages.contains(&region.pages.start));
        regions.all(|region| region.class == PageClass::Text)
    };
    match &library.units[..] {
        [] | [_] => Class::Whole,
        [first, ..] if !text(first) => Class::Far,
        _ => Class::FarCode,
    }
}

/// How libraries shall lie.
#[derive(Clone, Debug, Default)]
pub struct Arrangement {
    /// In which order those of a class come, by their numbers; those that are not named come behind the others.
    pub order: Vec<usize>,
    /// What can be in huge pages begins and ends with one.
    pub huge: bool,
}

/// The smallest part of a huge page at the end of code for which a whole one is taken.
const WORTH_A_HUGE_PAGE: u64 = 64 << 10;

/// Where everything is.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// The pages that libraries take in each window, counted from the image's base. The first page is free.
    pub windows: Vec<Range<u64>>,
    /// Pages in the first window that consist of code, padding included.
    pub code: Range<u64>,
    /// What of them is padding.
    pub padding: Range<u64>,
    /// What can be in huge pages shall be.
    pub huge: bool,
}

/// Gives every library its place, by class and in the order wanted.
///
/// # Errors
/// They do not fit.
pub fn lay_out(
    libraries: &mut [Library],
    arrangement: &Arrangement,
    class: impl Fn(&Library) -> Class,
) -> Result<Layout> {
    let rank = |number: &usize| {
        let wanted = arrangement.order.iter().position(|other| other == number);
        wanted.unwrap_or(arrangement.order.len())
    };
    let mut sorted: Vec<(usize, &mut Library)> = libraries.iter_mut().enumerate().collect();
    sorted.sort_by_cached_key(|(number, library)| (class(library), rank(number)));
    // Of each window, what is used, from the window's own beginning.
    let mut windows: Vec<(u64, Range<u64>)> = vec![(0, 0..PAGE_SIZE)];
    let mut code = 0..0;
    for (_, library) in sorted {
        let in_window = |unit: &Unit| {
            let window = window_of(unit);
            (window, unit.pages.start.0 - window * WINDOW..unit.pages.end.0 - window * WINDOW)
        };
        let units: Vec<(u64, Range<u64>)> = library.units.iter().map(in_window).collect();
        let free =
            |window: u64| windows.iter().find(|known| known.0 == window).map_or(0, |known| known.1.end);
        let lowest = units.iter().map(|(window, unit)| free(*window).saturating_sub(unit.start));
        let is_code = class(library) == Class::FarCode;
        let align = if arrangement.huge && is_code && code.is_empty() { HUGE_PAGE } else { library.align() };
        library.place = lowest.max().unwrap_or_default().next_multiple_of(align);
        if is_code && code.is_empty() {
            code.start = library.place;
        }
        for (window, unit) in units {
            let used = library.place + unit.start..library.place + unit.end;
            if is_code && window == 0 {
                code.end = used.end;
            }
            match windows.iter_mut().find(|known| known.0 == window) {
                Some((_, all)) => all.end = used.end,
                None => windows.push((window, used)),
            }
        }
    }
    let mut padding = code.end..code.end;
    if arrangement.huge && code.end % HUGE_PAGE >= WORTH_A_HUGE_PAGE {
        code.end = code.end.next_multiple_of(HUGE_PAGE);
        padding.end = code.end;
        windows[0].1.end = code.end;
    }
    windows.sort_unstable_by_key(|window| window.0);
    let pages =
        windows.into_iter().map(|(window, used)| window * WINDOW + used.start..window * WINDOW + used.end);
    let windows: Vec<Range<u64>> = pages.collect();
    if windows.windows(2).any(|pair| pair[0].end > pair[1].start) {
        bail!("the libraries are too large for one image");
    }
    Ok(Layout { windows, code, padding, huge: arrangement.huge })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ld_morsel::elf::{ObjectType, Segments, Vaddr};
    use ld_morsel::layout::Plan;

    fn library(units: &[(u64, u64)]) -> Library {
        let unit =
            |&(start, size): &(u64, u64)| Unit { pages: Vaddr(start)..Vaddr(start + size), bytes: &[] };
        Library {
            name: c"lib".into(),
            identity: None,
            plan: Plan::new(ObjectType::Relocatable, &Segments::default()),
            header_table: Vec::new(),
            units: units.iter().map(unit).collect(),
            place: 0,
            linked_dynamic: None,
            code_shift: 0,
            names: Default::default(),
        }
    }

    fn laid_out(libraries: &mut [Library], huge: bool) -> Result<Layout> {
        let class = |library: &Library| if library.units.len() > 1 { Class::FarCode } else { Class::Whole };
        lay_out(libraries, &Arrangement { huge, ..Arrangement::default() }, class)
    }

    #[test]
    fn libraries_in_one_piece_lie_one_after_the_other() {
        let mut libraries = [library(&[(0, 0x5000)]), library(&[(0, 0x2000)])];
        let layout = laid_out(&mut libraries, true).unwrap();
        assert_eq!((layout.windows.len(), &layout.windows[0]), (1, &(0..0x8000)));
        assert_eq!(libraries.map(|library| library.place), [0x1000, 0x6000]);
    }

    #[test]
    fn they_lie_in_the_order_wanted() {
        let mut libraries = [library(&[(0, 0x5000)]), library(&[(0, 0x2000)])];
        let arrangement = Arrangement { order: vec![1], huge: false };
        lay_out(&mut libraries, &arrangement, |_| Class::Whole).unwrap();
        assert_eq!(libraries.map(|library| library.place), [0x3000, 0x1000]);
    }

    #[test]
    fn units_that_are_far_apart_are_gathered() {
        let mut libraries =
            [library(&[(0, 0x5000), (WINDOW, 0x1000)]), library(&[(0, 0x2000), (WINDOW, 0x3000)])];
        let layout = laid_out(&mut libraries, false).unwrap();
        assert_eq!(layout.windows, [0..0x8000, WINDOW + 0x1000..WINDOW + 0x9000]);
        assert_eq!(layout.code, 0x1000..0x8000);
        assert_eq!(libraries.map(|library| library.place), [0x1000, 0x6000]);
    }

    #[test]
    fn code_fills_huge_pages_where_it_is_worth_it() {
        for (size, end) in
            [(WORTH_A_HUGE_PAGE - 0x1000, HUGE_PAGE + 0xf000), (WORTH_A_HUGE_PAGE, 2 * HUGE_PAGE)]
        {
            let mut libraries = [library(&[(0, 0x5000)]), library(&[(0, size), (WINDOW, 0x1000)])];
            let layout = laid_out(&mut libraries, true).unwrap();
            assert_eq!((layout.code, layout.windows[0].end), (HUGE_PAGE..end, end));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let large = [(0, WINDOW / 2 + 0x1000), (WINDOW, 0x1000)];
        let mut libraries = [library(&large), library(&large)];
        assert!(laid_out(&mut libraries, false).is_err());
    }
}
