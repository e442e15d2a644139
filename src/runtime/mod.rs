//! After the program has started: its constructors and destructors, what debuggers see, and the functions of
//! `<dlfcn.h>` and `<link.h>` that it calls instead of libc's own (which know only the synthetic object).
//!
//! What many threads read (the global scope, the list of objects) only ever grows, and is read without a lock. What a
//! load changes is behind one mutex. All that is sealed (see [`sys::seal`](crate::sys::seal())) while nobody loads anything;
//! what changes at other times is apart from it.

mod api;
mod debug;
mod guarded;
mod info;
mod initialize;
mod load;
mod lookup;
mod open;
mod start_main;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::bind::{self, Scope};
use crate::discover::Search;
use crate::elf::Address;
use crate::map::System;
use crate::program::{Object, Program};
use crate::relocate::Postponed;
use crate::start::InitialStack;
use crate::tls::StaticTls;

pub use api::*;
pub use debug::{DebugState, DebugSymbols, LinkMap, ListState};
pub use guarded::{Change, Guarded, Refusal};
pub use info::dlinfo;
pub use initialize::{Initialization, Queue, finalize, initialize, order, queue};
pub use start_main::{libc_start_main, watch_main};

/// Everything that the running program's loader knows.
pub struct Process {
    /// Where names are looked up.
    pub scope: Scope,
    /// All objects, as debuggers and the program see them.
    pub debug: &'static DebugState,
    /// The start-up objects' constructors.
    pub start: Queue,
    /// Constructors and destructors.
    pub initialization: &'static Initialization,
    /// Where the program begins.
    pub entry: Address,
    /// The stack that it gets.
    pub stack: InitialStack,
    /// How many loads have succeeded.
    pub generation: AtomicU64,
    /// What a load changes.
    pub loader: Guarded<Loader>,
    /// This loader, whose functions stand in for some of libc's.
    pub stand_in: Option<&'static Object>,
}

/// What a load changes.
pub struct Loader {
    /// All objects.
    pub program: Program,
    /// What the search for libraries remembers.
    pub search: Search,
    /// The system.
    pub system: System,
    /// Relocations whose symbols nobody defines yet.
    pub postponed: Vec<Postponed>,
    /// The layout of static thread-local storage, whose surplus objects that are loaded later may use.
    pub static_tls: StaticTls,
    /// Its merged image, which libc copies for each new thread.
    pub static_image: Address,
    /// Something is being loaded; or was, by a thread that does not exist in this process, which has been forked.
    pub is_loading: bool,
}

#[unsafe(link_section = ".sealed")]
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(core::ptr::null_mut());

impl Process {
    /// Makes the process known to the functions that the program will call.
    pub fn publish(self) -> &'static Self {
        let process = Box::leak(Box::new(self));
        PROCESS.store(process, Ordering::Release);
        process
    }

    /// The process. Only called by functions that the program reaches after it has been published.
    pub fn get() -> &'static Self {
        // SAFETY: published before any code of the program or of libc runs, and never freed.
        unsafe { &*PROCESS.load(Ordering::Acquire) }
    }

    /// Makes sure that objects are described and in the global scope (see [`Loader::complete`]). If that is impossible, `dlerror` says why.
    fn complete(&self) -> bool {
        if !self.scope.is_empty() {
            return true;
        }
        match self.loader.change_briefly() {
            Ok(loader) => loader.complete(&self.scope).map_err(|error| fail(format_args!("{error}"))).is_ok(),
            Err(refusal) => {
                fail(format_args!("{refusal}"));
                false
            }
        }
    }

    /// The address of a public function of libc.
    fn libc_function(&self, name: &[u8]) -> Option<Address> {
        let libc = self.debug.maps().map(LinkMap::object).find(|object| object.is_libc())?;
        bind::definition_in(libc, name).map(|symbol| libc.address(symbol.vaddr()))
    }
}
