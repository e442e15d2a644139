//! Hosting libc. musl's `libc.so` is musl's loader, too: it initialises itself only when it believes to be the
//! interpreter of a program. So it gets one: a small synthetic object in memory, made of what our program looks like
//! when everything is loaded. libc is started at its ELF entry, as the kernel would do it, finds that object by the
//! auxiliary vector, initialises itself, and jumps to "the program", which is our continuation. libc is never patched,
//! nor is a byte of its code decoded: it is spoken to by what every kernel tells every interpreter.

mod boot;
mod fused;
pub mod locate;
mod synthetic;

pub use boot::{Boot, Told, boot, enter};
pub use fused::OwnFile;
pub use synthetic::{MergedTls, Synthetic, exports};
