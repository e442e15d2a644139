//! ld-morsel
#![cfg_attr(not(test), no_std)]
extern crate alloc;
pub mod config;
pub mod elf;
pub mod error;
pub mod layout;
pub mod map;
pub mod program;
pub mod sys;
