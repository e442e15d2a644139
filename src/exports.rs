//! The symbols of the loader's own symbol table: the ELF entry, what programs are bound to instead of libc's loader
//! functions, and what debuggers look for.
//!
//! They are assembly, as the same names in Rust would replace libc's in everything that links the library crate.

use core::arch::global_asm;

use ld_morsel::runtime;
use ld_morsel::start::x86_64::entry;
use ld_morsel::tls::x86_64::tls_get_addr;

// What only this binary has goes along: where its own data are (`loader.ld`), and the place where debuggers stop.
global_asm!(
    ".globl _start",
    "_start: lea rcx, [rip + _dl_debug_state]",
    "lea r8, [rip + ld_morsel_data]",
    "lea r9, [rip + ld_morsel_initialised_end]",
    "lea r10, [rip + ld_morsel_data_end]",
    "jmp {}",
    sym entry,
);

/// Exports a function under its C name.
macro_rules! export {
    ($($name:literal => $function:path,)*) => {
        $(global_asm!(
            concat!(".globl ", $name),
            concat!(".type ", $name, ",@function"),
            concat!($name, ": jmp {}"),
            concat!(".size ", $name, ", . - ", $name),
            sym $function,
        );)*
    };
}

export! {
    "dlopen" => runtime::dlopen,
    "dlsym" => runtime::dlsym,
    "dlclose" => runtime::dlclose,
    "dlerror" => runtime::dlerror,
    "dladdr" => runtime::dladdr,
    "dlinfo" => runtime::dlinfo,
    "dlvsym" => runtime::dlvsym,
    "dladdr1" => runtime::dladdr1,
    "dl_iterate_phdr" => runtime::dl_iterate_phdr,
    "__tls_get_addr" => tls_get_addr,
    "__libc_start_main" => runtime::libc_start_main,
}

// Where debuggers and programs find `struct r_debug` (musl exports it, too); set when the objects are known.
global_asm!(
    ".pushsection .data._dl_debug_addr, \"aw\"",
    ".balign 8",
    ".globl _dl_debug_addr",
    ".type _dl_debug_addr,@object",
    "_dl_debug_addr: .quad 0",
    ".size _dl_debug_addr, 8",
    ".popsection",
);

// Debuggers stop at `_dl_debug_state`: it is called whenever the list of objects has changed.
global_asm!(
    ".globl _dl_debug_state",
    ".type _dl_debug_state,@function",
    "_dl_debug_state: ret",
    ".size _dl_debug_state, . - _dl_debug_state",
);
