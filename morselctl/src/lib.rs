//! The parts of morselctl that tests and fuzz targets use directly.

pub mod code;
pub mod elf_file;
pub mod separate;
