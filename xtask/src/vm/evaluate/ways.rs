//! The ways in which the files of a start can be mapped, and what a guest must be told for each.

use std::path::Path;

use crate::paths;
use crate::vm::icount::{DISK, HUGE};

/// What the kernel maps around a page fault unless it is told otherwise.
const FAULT_AROUND: u32 = 64 << 10;

/// A way to map files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Its name in tables.
    pub name: &'static str,
    /// `LD_MORSEL_MAP`; None under stock musl.
    map: Option<&'static str>,
    /// Bytes that are mapped around a page fault.
    fault_around: u32,
    /// What `measure.ko` is told, where it is needed.
    measure: Option<&'static str>,
    /// Where the files are.
    pub root: &'static str,
    /// `LD_MORSEL_MAP` of the processes that live meanwhile, if it is another.
    pub others_map: Option<&'static str>,
    /// What it must do to page faults to be what it is meant to be.
    pub faults: Faults,
}

/// How many page faults a start with large text has, compared with [`FILE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// As many, or fewer.
    Any,
    /// Not as many. Populating counts some of its own.
    Other,
    /// Fewer in each process.
    Fewer,
}

/// Stock musl.
pub const STOCK: Way = Way {
    name: "stock musl",
    map: None,
    fault_around: FAULT_AROUND,
    measure: None,
    root: DISK,
    others_map: None,
    faults: Faults::Any,
};
/// What all others are compared with.
pub const FILE: Way = Way { name: "file (fault-around 64 KiB, the default)", map: Some("file"), ..STOCK };
/// Page tables that are shared.
pub const MORSEL: Way = Way { name: "morsel", map: Some("morsel"), faults: Faults::Fewer, ..STOCK };
/// What the loader does by itself, where nobody has filled a morsel.
pub const AUTO: Way = Way { name: "auto", map: Some("auto"), ..STOCK };
/// The same beside others that have.
pub const AUTO_READY: Way = Way { name: "auto, others: morsel", others_map: Some("morsel"), ..AUTO };

/// All ways.
pub const ALL: [Way; 10] = [
    STOCK,
    FILE,
    Way { name: "file, fault-around 4 KiB", fault_around: 4 << 10, faults: Faults::Other, ..FILE },
    Way { name: "file, fault-around 2 MiB", fault_around: 2 << 20, faults: Faults::Fewer, ..FILE },
    Way { name: "file, MAP_POPULATE", measure: Some("populate=1"), faults: Faults::Other, ..FILE },
    Way { name: "huge pages (tmpfs)", map: Some("huge"), root: HUGE, faults: Faults::Fewer, ..STOCK },
    MORSEL,
    Way { name: "huge morsel", measure: Some("huge=1"), ..MORSEL },
    AUTO,
    AUTO_READY,
];

impl Way {
    /// The loader to start a program with.
    pub fn loader<'a>(&self, ours: &'a Path) -> &'a Path {
        if self.map.is_some() { ours } else { Path::new(paths::STOCK) }
    }

    /// What the program's environment has.
    pub fn environment(&self) -> Option<String> {
        self.map.map(|map| format!("LD_MORSEL_MAP={map}"))
    }

    /// What the guest's shell does before, and afterwards.
    pub fn setting(&self) -> (String, String) {
        let around = "/sys/kernel/debug/fault_around_bytes";
        let mut before = format!("[ -e {around} ] && echo {} >{around} || exit", self.fault_around);
        let mut after = String::new();
        if let Some(what) = self.measure {
            before += &format!("\ninsmod /measure.ko {what} || exit");
            after += "rmmod measure || exit";
        }
        (before, after)
    }
}
