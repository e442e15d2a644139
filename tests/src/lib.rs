//! The differential tests of ld-morsel: small programs, run under stock musl and under ld-morsel.
//!
//! Each file below `cases/` is one small program, with its libraries, that shows one behaviour of a dynamic
//! loader. It is built for both loaders and run in both ways of invocation, with two versions of musl as
//! libc; both loaders must do what the case says and must do the same. `README.md` describes the
//! language of the cases.
//!
//! [`directives`] reads a [`case`], [`toolchain`] builds it for the loaders that [`worlds`] has found, and
//! [`verdict`] [`run`]s and compares it, after [`normalise`] has removed what must differ. [`elf_edit`] and
//! [`corruption`] change ELF files field by field.
//!
//! A [`grid`] is a generated program of many libraries, whose [`bindings`] are dumped under both loaders.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

pub mod bindings;
pub mod case;
pub mod corruption;
pub mod directives;
pub mod elf_edit;
pub mod elf_fields;
pub mod grid;
pub mod images;
pub mod normalise;
pub mod run;
pub mod scratch;
pub mod toolchain;
pub mod verdict;
pub mod worlds;

/// A test of this name, which fails with the whole chain of causes.
pub fn trial(name: impl Into<String>, check: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, || check().map_err(|error| Failed::from(format!("{error:#}"))))
}
