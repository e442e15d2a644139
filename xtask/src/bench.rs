//! The start-up benchmark: synthetic programs (`synthetic`), a harness that starts several programs in turn and takes
//! times (`harness`), and the arithmetic of what it took (`stats`).

pub mod harness;
pub mod stats;
pub mod synthetic;
