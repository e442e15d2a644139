//! The loader binary: what a program without a libc must bring along itself. The story begins in
//! [`ld_morsel::start`].

#![no_std]
#![no_main]

mod exports;
mod memory;

use ld_morsel::sys::BumpAllocator;
#[cfg(not(test))]
use {core::panic::PanicInfo, ld_morsel::sys};

#[global_allocator]
static ALLOCATOR: BumpAllocator = BumpAllocator;

/// A bug in the loader. There is nothing to unwind to.
#[cfg(not(test))] // `cargo clippy --all-targets` checks the binary as a test, too
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    sys::print(sys::stderr(), format_args!("{}{info}\n", sys::MESSAGE_PREFIX));
    sys::exit(127)
}
