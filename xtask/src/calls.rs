//! Calls between libraries, measured: iFed's benchmark. One library calls a function of each of many others in turn, either an empty
//! one or one that works for a while and goes through memory (`program`); who loads it, and what has been done to the calls, is a
//! [`Way`] (`way`). `iTLB` misses are counted where the processor lets us (`itlb`). What the place of functions does to calls is
//! looked at apart (`places`).

pub mod itlb;
pub mod places;
pub mod program;
pub mod way;

pub use program::{Load, Sample, Shape, Times};
pub use way::{Way, ways};
