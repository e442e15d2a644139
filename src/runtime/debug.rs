//! What debuggers read: `r_debug` and the list of `link_map`s (`<link.h>`; the protocol is System V's, as gdb's
//! `solib-svr4` and lldb know it).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;

use crate::bind;
use crate::elf::Address;
use crate::program::{Object, ObjectId, Program};

/// `struct link_map`: one object for debuggers, and what `dlopen` returns (`dlinfo` turns one into the other).
#[repr(C)]
pub struct LinkMap {
    bias: u64,
    name: *const c_char,
    dynamic: u64,
    next: *mut LinkMap,
    previous: *mut LinkMap,
    /// Not part of the public structure: which object it is.
    pub object: ObjectId,
}

/// What the loader exports for debuggers, looked up in its own symbol table: the addresses must be the exported ones.
#[derive(Clone, Copy, Debug)]
pub struct DebugSymbols {
    /// `_dl_debug_state`, a function at which debuggers stop to read the list.
    breakpoint: Address,
    /// `_dl_debug_addr`, a pointer to `struct r_debug`.
    variable: Option<Address>,
}

impl DebugSymbols {
    /// Those of the loader.
    pub fn of(loader: &Object) -> Self {
        let address = |name| bind::definition_in(loader, name).map(|symbol| loader.address(symbol.vaddr()));
        let breakpoint = address(b"_dl_debug_state").unwrap_or_default();
        Self { breakpoint, variable: address(b"_dl_debug_addr") }
    }
}

/// `RT_CONSISTENT`: the list may be read.
const CONSISTENT: c_int = 0;

/// `struct r_debug`. The program's `DT_DEBUG` points to it.
#[repr(C)]
pub struct DebugState {
    version: c_int,
    head: *mut LinkMap,
    breakpoint: u64,
    state: c_int,
    base: u64,
}

// SAFETY: written while there is one thread, only read afterwards.
unsafe impl Sync for DebugState {}
// SAFETY: as above.
unsafe impl Send for DebugState {}

impl DebugState {
    /// Describes the objects of a program; `base` is where the interpreter is.
    pub fn new(program: &Program, base: Address, symbols: DebugSymbols) -> &'static Self {
        let maps: Vec<LinkMap> = program
            .visible()
            .map(|(id, object)| LinkMap {
                bias: object.mapping.bias.0,
                name: object.name.as_ptr(),
                dynamic: object.address(object.dynamic_section).0,
                next: null_mut(),
                previous: null_mut(),
                object: id,
            })
            .collect();
        let maps = maps.leak();
        let head = maps.as_mut_ptr();
        for (index, map) in maps.iter_mut().enumerate() {
            map.previous = if index > 0 { head.wrapping_add(index - 1) } else { null_mut() };
            map.next = head.wrapping_add(index + 1);
        }
        if let Some(last) = maps.last_mut() {
            last.next = null_mut();
        }
        let state =
            Self { version: 1, head, breakpoint: symbols.breakpoint.0, state: CONSISTENT, base: base.0 };
        let state = Box::leak(Box::new(state));
        if let Some(variable) = symbols.variable {
            // SAFETY: `_dl_debug_addr` is a word in our own data that only debuggers and programs read, later.
            unsafe { (variable.0 as *mut u64).write(core::ptr::from_ref(state) as u64) };
        }
        state
    }

    /// Tells debuggers that the list has changed.
    pub fn notify(&self) {
        // SAFETY: `_dl_debug_state` is a function of ours without arguments that does nothing.
        unsafe {
            let breakpoint: extern "C" fn() = core::mem::transmute(self.breakpoint);
            breakpoint();
        }
    }

    /// All objects, in load order.
    pub fn maps(&self) -> impl Iterator<Item = &'static LinkMap> {
        let mut next = self.head.cast_const();
        core::iter::from_fn(move || {
            // SAFETY: the list is complete, ends with a null and is never freed.
            let map = unsafe { next.as_ref() }?;
            next = map.next;
            Some(map)
        })
    }
}
