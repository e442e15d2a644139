//! After the program has started: its constructors and destructors, what debuggers see, and the functions of
//! `<dlfcn.h>` and `<link.h>` that it calls instead of libc's own (which know only the synthetic object).

mod api;
mod debug;
mod failure;
mod initialize;
mod lookup;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::bind::Scope;
use crate::elf::Address;
use crate::program::{InitOrder, Program};
use crate::start::InitialStack;
use crate::tls::StaticTls;

pub use api::*;
pub use debug::{DebugState, DebugSymbols, LinkMap};
pub use initialize::{Progress, finalize, initialize};

/// Everything that the running program's loader knows. Immutable once published, but for what is atomic in it.
pub struct Process {
    /// All objects.
    pub program: Program,
    /// Where names are looked up.
    pub scope: Scope,
    /// In which order constructors run.
    pub init_order: InitOrder,
    /// The static thread-local storage.
    pub tls: &'static StaticTls,
    /// What debuggers read.
    pub debug: &'static DebugState,
    /// Where the program begins.
    pub entry: Address,
    /// The stack that it gets.
    pub stack: InitialStack,
    /// Progress of constructors and destructors.
    pub progress: Progress,
}

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
}
