//! The passes over the program model that a build can run, by the names that configuration files use.

/// All of them, in the order in which they run. There are none yet.
pub const NAMES: &[&str] = &[];
