//! Tests of the ELF views: that each format rule is kept, and that no file, however spoilt, makes them panic. Here are
//! their tools, too, which the tests of other modules share.

pub(crate) mod builder;
pub(crate) mod drive;
mod formats;
mod names;
pub(crate) mod object;
mod properties;
mod segments;
mod symbols;
