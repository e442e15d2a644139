//! **ld-morsel**: a dynamic loader for programs that are linked against musl.
//!
//! One way through the house, in the order in which things happen; a phase takes what the earlier ones produced and adds
//! its own result:
//!
//! | module | what happens there |
//! | --- | --- |
//! | [`start`] | the kernel's hands: self-relocation, the initial stack, and at the end the jump to the program |
//! | [`config`] | what the user asked for |
//! | [`host`] | which libc (first), and booting it (last) |
//! | [`image`] | instead of the next three and most of [`relocate`]: all of it, made ahead of time |
//! | [`discover`] | which objects, in which order |
//! | [`layout`] | where each region of an object goes, its page class and alignment |
//! | [`map`] | making the layout real |
//! | [`tls`] | where thread-local storage is |
//! | [`bind`] | from a symbol's name to its definition |
//! | [`relocate`] | writing the values |
//! | [`runtime`] | after `main` has started: constructors, `dlsym` and its family, debuggers |
//!
//! They all work on [`program`], the model, which is made of [`elf`], safe views over bytes. [`sys`] holds the few system
//! calls, [`mod@error`] the words for what goes wrong, [`statistics`] the figures of a start.
//!
//! The binary (`src/main.rs`) adds what a program without a libc must bring along. The library is `no_std`, so
//! that the loader can use it, but nothing in it keeps tools and tests from using it, too.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod bind;
pub mod config;
pub mod discover;
pub mod elf;
pub mod error;
pub mod layout;
pub mod program;
pub mod statistics;

// The modules that touch memory which is not Rust's.
#[allow(unsafe_code)]
pub mod host;
#[allow(unsafe_code)]
pub mod image;
#[allow(unsafe_code)]
pub mod map;
#[allow(unsafe_code)]
pub mod relocate;
#[allow(unsafe_code)]
pub mod runtime;
#[allow(unsafe_code)]
pub mod start;
#[allow(unsafe_code)]
pub mod sys;
#[allow(unsafe_code)]
pub mod tls;
