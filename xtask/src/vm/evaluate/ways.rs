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
    /// Whether each process must have fewer page faults than with [`FILE`] if there is large text. Populating counts as
    /// many as it saves.
    pub saves_faults: bool,
}

/// Stock musl.
pub const STOCK: Way = Way {
    name: "stock musl",
    map: None,
    fault_around: FAULT_AROUND,
    measure: None,
    root: DISK,
    saves_faults: false,
};
/// What all others are compared with.
pub const FILE: Way = Way { name: "file (fault-around 64 KiB, the default)", map: Some("file"), ..STOCK };
/// Page tables that are shared.
pub const MORSEL: Way = Way { name: "morsel", map: Some("morsel"), saves_faults: true, ..STOCK };

/// All ways.
pub const ALL: [Way; 8] = [
    STOCK,
    FILE,
    Way { name: "file, fault-around 4 KiB", fault_around: 4 << 10, ..FILE },
    Way { name: "file, fault-around 2 MiB", fault_around: 2 << 20, saves_faults: true, ..FILE },
    Way { name: "file, MAP_POPULATE", measure: Some("populate=1"), ..FILE },
    Way { name: "huge pages (tmpfs)", map: Some("huge"), root: HUGE, saves_faults: true, ..STOCK },
    MORSEL,
    Way { name: "huge morsel", measure: Some("huge=1"), ..MORSEL },
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
