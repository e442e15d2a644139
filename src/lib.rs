//! ld-morsel
#![cfg_attr(not(test), no_std)]
extern crate alloc;
pub mod bind;
pub mod config;
pub mod discover;
pub mod elf;
pub mod error;
pub mod host;
pub mod layout;
pub mod map;
pub mod program;
pub mod relocate;
pub mod runtime;
pub mod start;
pub mod statistics;
pub mod sys;
pub mod tls;
