//! The list of objects: `r_debug` and its `link_map`s (`<link.h>`). Debuggers read it (the protocol is System V's, as
//! gdb's `solib-svr4` and lldb know it), and so do the loader's own functions: it only grows, at the end, and needs no lock.

use alloc::boxed::Box;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use once_cell::race::OnceBox;

use crate::bind::{self, Group};
use crate::elf::{Address, LoadBias, Vaddr};
use crate::program::{Object, ObjectId, Program};

/// The public `struct link_map`.
#[repr(C)]
struct PublicMap {
    bias: u64,
    name: *const c_char,
    dynamic: u64,
    next: AtomicPtr<PublicMap>,
    previous: *mut PublicMap,
}

impl PublicMap {
    fn new(object: &Object, bias: LoadBias, dynamic: Vaddr) -> Self {
        Self {
            bias: bias.0,
            name: object.name.as_ptr(),
            dynamic: bias.apply(dynamic).0,
            next: AtomicPtr::new(null_mut()),
            previous: null_mut(),
        }
    }
}

/// One object for debuggers, and what `dlopen` returns (`dlinfo` turns one into the other).
#[repr(C)]
pub struct LinkMap {
    public: PublicMap,
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

    /// Whether a debugger waits for the list: one that has started the process puts its breakpoint there before our first
    /// instruction.
    pub fn are_watched(&self) -> bool {
        const BREAKPOINT: u8 = 0xcc;
        // SAFETY: a function of the loader's or of the libc in the same file.
        self.breakpoint.0 != 0 && unsafe { (self.breakpoint.0 as *const u8).read() } == BREAKPOINT
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
///
/// Debuggers compare a map's dynamic section with that of the object's file to find out how far the object is from where it was
/// linked. If an image has moved the parts of libraries apart, they are shown a list of copies in which the dynamic sections are
/// where they would be beside the code, since that is where breakpoints and backtraces lead. All others see the truth.
#[repr(C)]
pub struct DebugState {
    version: c_int,
    shown: AtomicPtr<PublicMap>,
    breakpoint: u64,
    state: AtomicI32,
    base: u64,
    // Here ends the public structure.
    last_shown: AtomicPtr<PublicMap>,
    first: AtomicPtr<PublicMap>,
    last: AtomicPtr<PublicMap>,
}

/// Adds a map at the end of a list.
///
/// # Safety
/// The map lives as long as the process and nobody else knows it yet; only one thread at a time adds to the list.
unsafe fn append(map: *mut PublicMap, first: &AtomicPtr<PublicMap>, last: &AtomicPtr<PublicMap>) {
    let previous = last.load(Ordering::Relaxed);
    // SAFETY: the caller's promise, and list entries are never freed.
    let link = unsafe {
        (*map).previous = previous;
        previous.as_ref().map_or(first, |previous| &previous.next)
    };
    link.store(map, Ordering::Release);
    last.store(map, Ordering::Relaxed);
}

impl DebugState {
    /// An empty list; `base` is where the interpreter is.
    pub fn new(base: Address, symbols: DebugSymbols) -> &'static Self {
        let state = Box::leak(Box::new(Self {
            version: 1,
            shown: AtomicPtr::new(null_mut()),
            breakpoint: symbols.breakpoint.0,
            state: AtomicI32::new(ListState::Consistent as i32),
            base: base.0,
            last_shown: AtomicPtr::new(null_mut()),
            first: AtomicPtr::new(null_mut()),
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
        // Such objects are there from the start or never.
        let is_moved = |object: &Object| object.linked_dynamic.is_some();
        let copies = program.objects().any(is_moved);
        for (id, object) in program.visible().filter(|(id, _)| *id >= first) {
            let map = Box::into_raw(Box::new(LinkMap {
                public: PublicMap::new(object, object.mapping.bias, object.summary.dynamic_section),
                id,
                // SAFETY: the caller's promise makes the reference valid for ever.
                object: unsafe { &*core::ptr::from_ref(object) },
                group: OnceBox::new(),
            }));
            // SAFETY: just made, and never freed; the caller is the only one to add.
            unsafe { append(map.cast(), &self.first, &self.last) };
            if copies {
                let dynamic = object.linked_dynamic.unwrap_or(object.summary.dynamic_section);
                let bias = LoadBias(object.mapping.bias.0.wrapping_add(object.code_shift));
                let copy = Box::into_raw(Box::new(PublicMap::new(object, bias, dynamic)));
                // SAFETY: likewise.
                unsafe { append(copy, &self.shown, &self.last_shown) };
            }
        }
        if !copies {
            self.shown.store(self.first.load(Ordering::Relaxed), Ordering::Release);
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
        let mut next = self.first.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: `add` puts whole `LinkMap`s there, which are complete when they are linked, and never freed.
            let map = unsafe { next.cast::<LinkMap>().as_ref() }?;
            next = map.public.next.load(Ordering::Acquire);
            Some(map)
        })
    }

    /// The entry of an object.
    pub fn map_of(&self, id: ObjectId) -> Option<&'static LinkMap> {
        self.maps().find(|map| map.id == id)
    }
}
