//! The list of objects: `r_debug` and its `link_map`s (`<link.h>`). Debuggers read it (the protocol is System V's, as
//! gdb's `solib-svr4` and lldb know it), and so do the loader's own functions: it only grows, at the end, and needs no lock.

use alloc::boxed::Box;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use once_cell::race::OnceBox;

use crate::bind::{self, Group};
use crate::elf::Address;
use crate::program::{Object, ObjectId, Program};

/// `struct link_map`: one object for debuggers, and what `dlopen` returns (`dlinfo` turns one into the other).
#[repr(C)]
pub struct LinkMap {
    bias: u64,
    name: *const c_char,
    dynamic: u64,
    next: AtomicPtr<LinkMap>,
    previous: *mut LinkMap,
    // Here ends the public structure.
    id: ObjectId,
    object: &'static Object,
    group: OnceBox<Group>,
}

// SAFETY: only atomics change after an entry is published.
unsafe impl Sync for LinkMap {}

impl LinkMap {
    /// Its place in load order.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// The object.
    pub fn object(&self) -> &'static Object {
        self.object
    }

    /// The object with its dependencies, breadth first: where `dlsym` looks. Known once it has been opened.
    pub fn group(&self) -> Option<&Group> {
        self.group.get()
    }

    /// Makes the group known; the first one stays.
    pub fn set_group(&self, group: Group) {
        let _ = self.group.set(Box::new(group));
    }
}

/// What is exported for debuggers, looked up in symbol tables: the addresses must be the exported ones.
#[derive(Clone, Copy, Debug)]
pub struct DebugSymbols {
    /// `_dl_debug_state`, a function at which debuggers stop to read the list.
    breakpoint: Address,
    /// `_dl_debug_addr`, a pointer to `struct r_debug`.
    variable: Option<Address>,
}

impl DebugSymbols {
    /// Those of the loader. `shown` is where debuggers look for the breakpoint: the object whose symbols are those of the
    /// interpreter's file, which is the loader itself or the libc that it is fused with.
    pub fn of(loader: &Object, shown: &Object) -> Self {
        let address = |object: &Object, name| {
            bind::definition_in(object, name).map(|symbol| object.address(symbol.vaddr()))
        };
        let breakpoint = address(shown, b"_dl_debug_state").unwrap_or_default();
        Self { breakpoint, variable: address(loader, b"_dl_debug_addr") }
    }
}

/// `r_state`: what is happening to the list.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub enum ListState {
    /// `RT_CONSISTENT`: it may be read.
    Consistent = 0,
    /// `RT_ADD`: objects are being added.
    Adding = 1,
}

/// `struct r_debug`. The program's `DT_DEBUG` points to it.
#[repr(C)]
pub struct DebugState {
    version: c_int,
    head: AtomicPtr<LinkMap>,
    breakpoint: u64,
    state: AtomicI32,
    base: u64,
    // Here ends the public structure.
    last: AtomicPtr<LinkMap>,
}

impl DebugState {
    /// An empty list; `base` is where the interpreter is.
    pub fn new(base: Address, symbols: DebugSymbols) -> &'static Self {
        let state = Box::leak(Box::new(Self {
            version: 1,
            head: AtomicPtr::new(null_mut()),
            breakpoint: symbols.breakpoint.0,
            state: AtomicI32::new(ListState::Consistent as i32),
            base: base.0,
            last: AtomicPtr::new(null_mut()),
        }));
        if let Some(variable) = symbols.variable {
            // SAFETY: `_dl_debug_addr` is a word in our own data that only debuggers and programs read, later.
            unsafe { (variable.0 as *mut u64).write(core::ptr::from_ref(state) as u64) };
        }
        state
    }

    /// Appends the objects of a program from `first` on (but not this loader, whose part libc plays). Only one thread at a
    /// time may do that.
    ///
    /// # Safety
    /// The objects are never dropped, moved or changed any more.
    pub unsafe fn add(&self, program: &Program, first: ObjectId) {
        for (id, object) in program.visible().filter(|(id, _)| *id >= first) {
            let previous = self.last.load(Ordering::Relaxed);
            let map = Box::leak(Box::new(LinkMap {
                bias: object.mapping.bias.0,
                name: object.name.as_ptr(),
                dynamic: object.address(object.dynamic_section).0,
                next: AtomicPtr::new(null_mut()),
                previous,
                id,
                // SAFETY: the caller's promise makes the reference valid for ever.
                object: unsafe { &*core::ptr::from_ref(object) },
                group: OnceBox::new(),
            }));
            // SAFETY: list entries are never freed.
            let link = unsafe { previous.as_ref() }.map_or(&self.head, |previous| &previous.next);
            link.store(map, Ordering::Release);
            self.last.store(map, Ordering::Relaxed);
        }
    }

    /// Tells debuggers what is happening to the list.
    pub fn announce(&self, state: ListState) {
        self.state.store(state as i32, Ordering::Release);
        // SAFETY: `_dl_debug_state` is a function of ours without arguments that does nothing.
        unsafe {
            let breakpoint: extern "C" fn() = core::mem::transmute(self.breakpoint);
            breakpoint();
        }
    }

    /// All objects, in load order.
    pub fn maps(&self) -> impl Iterator<Item = &'static LinkMap> + use<> {
        let mut next = self.head.load(Ordering::Acquire).cast_const();
        core::iter::from_fn(move || {
            // SAFETY: entries are complete when they are linked, and never freed.
            let map = unsafe { next.as_ref() }?;
            next = map.next.load(Ordering::Acquire);
            Some(map)
        })
    }

    /// The entry of an object.
    pub fn map_of(&self, id: ObjectId) -> Option<&'static LinkMap> {
        self.maps().find(|map| map.id == id)
    }
}
