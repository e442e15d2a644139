//! One module for each job. A job returns whether everything that it checked was as it should be; an error means
//! that it could not do its work.

pub mod bench;
pub mod build;
pub mod chroot;
pub mod corpus;
pub mod demo;
pub mod fuzz;
pub mod install;
pub mod release;
pub mod setup;
pub mod test;
pub mod vm;
pub mod ways;
