//! `dlerror`: the last failure of each thread. It hangs off the loader's own slot at the bottom of static thread-local
//! storage, which is zero in a new thread; its buffer is reused, so that failing often costs no memory.

use alloc::boxed::Box;
use alloc::string::String;
use core::ffi::c_char;
use core::fmt::{self, Write};
use core::ptr::null_mut;

use crate::tls::x86_64::thread_pointer;

use super::Process;

#[derive(Default)]
struct Failure {
    /// NUL-terminated.
    message: String,
    /// Not yet fetched.
    pending: bool,
}

/// The calling thread's failure record.
fn slot() -> *mut *mut Failure {
    (thread_pointer() - Process::get().tls.size) as *mut *mut Failure
}

/// Remembers why a call fails.
pub(super) fn report(message: fmt::Arguments<'_>) {
    let slot = slot();
    // SAFETY: the slot belongs to this thread and holds null or a box that is never freed; no reference to the record
    // outlives a call of this module.
    let failure = unsafe {
        if (*slot).is_null() {
            *slot = Box::into_raw(Box::default());
        }
        &mut **slot
    };
    failure.message.clear();
    // Writing to a string cannot fail.
    let _ = failure.message.write_fmt(message);
    failure.message.push('\0');
    failure.pending = true;
}

/// `dlerror` (POSIX): the last failure of this thread since the last call, or null.
pub extern "C" fn dlerror() -> *mut c_char {
    // SAFETY: as in `report`.
    let failure = unsafe { (*slot()).as_mut() };
    match failure.filter(|failure| failure.pending) {
        Some(failure) => {
            failure.pending = false;
            failure.message.as_mut_ptr().cast()
        }
        None => null_mut(),
    }
}
