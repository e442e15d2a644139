//! `dlopen` as the program sees it: one load at a time, constructors afterwards, and what is to be kept in order for the
//! other threads, for cancellation and for `fork`.

use core::ffi::{CStr, c_int};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::error::LoadError;
use crate::sys::{SignalsBlocked, Text, thread_pointer};

use super::api::fail;
use super::debug::ListState;
use super::initialize::{Queue, WhenExiting};
use super::load::{OpenError, OpenFlags};
use super::{LinkMap, Process};

/// `PTHREAD_CANCEL_DISABLE` of musl's `<pthread.h>`.
const CANCEL_DISABLE: c_int = 1;

/// `fork` and loads.
struct ForkGuard {
    /// Our handlers are registered.
    registered: AtomicU64,
    /// The thread (by its thread pointer) that is forking, and has all locks; with [`GIVEN_BACK`], it has them no more.
    forking: AtomicU64,
}

static FORK: ForkGuard = ForkGuard { registered: AtomicU64::new(0), forking: AtomicU64::new(0) };

/// Thread pointers are even.
const GIVEN_BACK: u64 = 1;

impl Process {
    /// Opens an object and runs its constructors. If that is impossible, everything is as before, and `dlerror` says why.
    pub fn open(&'static self, name: &CStr, flags: OpenFlags) -> Option<&'static LinkMap> {
        let cancelability = self.set_cancelability(CANCEL_DISABLE);
        self.guard_fork();
        // Another handler of `fork` may get here, in the thread that has the locks.
        let forking = FORK.forking.load(Ordering::Relaxed) == thread_pointer();
        if forking {
            self.give_back_locks();
        }
        let opened = self.load(name, flags);
        if let Some((map, queue)) = &opened {
            self.initialization.run(queue, WhenExiting::Wait);
            self.initialization.settle(map, queue);
        }
        if forking {
            self.take_locks();
        }
        if let Some(before) = cancelability {
            self.set_cancelability(before);
        }
        opened.map(|(map, _)| map)
    }

    /// Everything but the constructors.
    fn load(&'static self, name: &CStr, flags: OpenFlags) -> Option<(&'static LinkMap, Queue)> {
        // A handler that looks something up would wait for this thread, as long as there is something to be completed.
        let signals = self.scope.is_empty().then(SignalsBlocked::new);
        let loader = self.loader.change().inspect_err(|refusal| {
            fail(format_args!("Error loading shared library {}: {refusal}", Text::from(name)));
        });
        let mut loader = loader.ok()?;
        self.debug.announce(ListState::Adding);
        let opened = if self.initialization.is_exiting() {
            Err(OpenError::Exiting)
        } else {
            let completed = loader.complete(&self.scope);
            drop(signals);
            completed.and_then(|()| loader.load(self, name, flags))
        };
        self.debug.announce(ListState::Consistent);
        // The error goes before the window is closed, so that its memory is used again.
        let report = |error: OpenError| {
            fail(format_args!("{error}"));
            self.set_errno(&error);
        };
        opened.map_err(report).ok()
    }

    /// `errno` after a failure: musl leaves there what the last system call has said.
    fn set_errno(&self, error: &OpenError) {
        if let OpenError::Object(_, LoadError::System(errno)) = error
            && let Some(function) = self.libc_function(b"__errno_location")
        {
            // SAFETY: musl's `errno` is defined by this function, which has this signature.
            unsafe {
                let function: extern "C" fn() -> *mut c_int = core::mem::transmute(function.0);
                *function() = errno.raw_os_error();
            }
        }
    }

    /// A thread must not be cancelled in the middle of a load or of a constructor.
    fn set_cancelability(&self, state: c_int) -> Option<c_int> {
        let function = self.libc_function(b"pthread_setcancelstate")?;
        let mut before = 0;
        // SAFETY: POSIX gives the signature; libc is up.
        unsafe {
            let function: extern "C" fn(c_int, *mut c_int) -> c_int = core::mem::transmute(function.0);
            function(state, &raw mut before);
        }
        Some(before)
    }

    /// From the first load on, `fork` waits until no other thread is loading: its child would find the locks taken for ever.
    /// (Not from the start on: `pthread_atfork` allocates.) Two threads may both register: of several calls for one `fork` the first
    /// one counts. And a `fork` may be under way, which then calls the handlers only after it.
    fn guard_fork(&self) {
        if FORK.registered.load(Ordering::Acquire) != 0 {
            return;
        }
        if let Some(function) = self.libc_function(b"pthread_atfork") {
            type Handler = extern "C" fn();
            // SAFETY: POSIX gives the signature; libc is up.
            unsafe {
                let function: extern "C" fn(Handler, Handler, Handler) -> c_int =
                    core::mem::transmute(function.0);
                function(before_fork, after_fork_in_parent, after_fork_in_child);
            }
        }
        FORK.registered.store(1, Ordering::Release);
    }

    fn take_locks(&self) {
        self.loader.acquire();
        self.initialization.acquire();
    }

    fn give_back_locks(&self) {
        self.initialization.release();
        self.loader.release();
    }
}

extern "C" fn before_fork() {
    let this = thread_pointer();
    if FORK.forking.load(Ordering::Relaxed) != this {
        Process::get().take_locks();
        FORK.forking.store(this, Ordering::Relaxed);
    }
}

extern "C" fn after_fork_in_parent() {
    let this = thread_pointer();
    if FORK.forking.load(Ordering::Relaxed) == this {
        FORK.forking.store(this | GIVEN_BACK, Ordering::Relaxed);
        Process::get().give_back_locks();
    }
}

extern "C" fn after_fork_in_child() {
    let process = Process::get();
    let (this, forking) = (thread_pointer(), FORK.forking.load(Ordering::Relaxed));
    if forking == this | GIVEN_BACK {
        return;
    }
    if forking != this {
        // Nobody has waited for other threads. The loader's own lock knows that they are gone.
        process.initialization.take_over();
        FORK.forking.store(this, Ordering::Relaxed);
    }
    process.initialization.forget_other_threads();
    after_fork_in_parent();
}
