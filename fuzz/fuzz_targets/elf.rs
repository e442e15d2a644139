//! Takes any bytes for an ELF file and does with them what the loader does, short of mapping them: nothing may panic,
//! hang, or break what the later phases rely on.

#![no_main]

use ld_morsel::{elf, layout};

#[path = "../../src/elf/tests/drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    // That most files are refused is as it should be.
    let _ = drive::drive(file);
});
