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

/// The order in which libraries are laid out, so that all code of those whose units are far apart lies together.
pub fn class(library: &Library) -> u8 {
    let text = |unit: &Unit| {
        let mut regions =
            library.plan.regions.iter().filter(|region| unit.pages.contains(&region.pages.start));
        regions.all(|region| region.class == PageClass::Text)
    };
    match &library.units[..] {
        [] | [_] => 0,
        [first, ..] if !text(first) => 1,
        _ => 2,
    }
}

/// Gives every library its place, in the order of their keys; returns the pages of each window, from the image's base. The first
/// page is left free.
///
/// # Errors
/// They do not fit.
pub fn lay_out<K: Ord>(libraries: &mut [Library], order: impl Fn(&Library) -> K) -> Result<Vec<Range<u64>>> {
    let mut sorted: Vec<&mut Library> = libraries.iter_mut().collect();
    sorted.sort_by_key(|library| order(library));
    // Of each window, what is used, from the window's own beginning.
    let mut windows: Vec<(u64, Range<u64>)> = vec![(0, 0..PAGE_SIZE)];
    for library in sorted {
        let in_window = |unit: &Unit| {
            let window = window_of(unit);
            (window, unit.pages.start.0 - window * WINDOW..unit.pages.end.0 - window * WINDOW)
        };
        let units: Vec<(u64, Range<u64>)> = library.units.iter().map(in_window).collect();
        let free =
            |window: u64| windows.iter().find(|known| known.0 == window).map_or(0, |known| known.1.end);
        let lowest = units.iter().map(|(window, unit)| free(*window).saturating_sub(unit.start));
        library.place = lowest.max().unwrap_or_default().next_multiple_of(library.align());
        for (window, unit) in units {
            let used = library.place + unit.start..library.place + unit.end;
            match windows.iter_mut().find(|known| known.0 == window) {
                Some((_, all)) => all.end = used.end,
                None => windows.push((window, used)),
            }
        }
    }
    windows.sort_unstable_by_key(|window| window.0);
    let pages =
        windows.into_iter().map(|(window, used)| window * WINDOW + used.start..window * WINDOW + used.end);
    let pages: Vec<Range<u64>> = pages.collect();
    if pages.windows(2).any(|pair| pair[0].end > pair[1].start) {
        bail!("the libraries are too large for one image");
    }
    Ok(pages)
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
        }
    }

    #[test]
    fn libraries_in_one_piece_lie_one_after_the_other() {
        let mut libraries = [library(&[(0, 0x5000)]), library(&[(0, 0x2000)])];
        assert_eq!(lay_out(&mut libraries, |_| ()).unwrap(), [0..0x8000]);
        assert_eq!(libraries.map(|library| library.place), [0x1000, 0x6000]);
    }

    #[test]
    fn units_that_are_far_apart_are_gathered() {
        let mut libraries =
            [library(&[(0, 0x5000), (WINDOW, 0x1000)]), library(&[(0, 0x2000), (WINDOW, 0x3000)])];
        let windows = lay_out(&mut libraries, |_| ()).unwrap();
        assert_eq!(windows, [0..0x8000, WINDOW + 0x1000..WINDOW + 0x9000]);
        assert_eq!(libraries.map(|library| library.place), [0x1000, 0x6000]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut libraries = [library(&[(0, WINDOW)]), library(&[(0, 0x1000), (WINDOW, 0x1000)])];
        assert!(lay_out(&mut libraries, |_| ()).is_err());
    }
}
