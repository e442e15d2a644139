//! What a load changes: it is behind one mutex and read-only at all other times.

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::sys::{Errno, ProcessLock, SignalsBlocked, Window, errno_text};

/// The mutex of the one [`Guarded`] value. It changes when the value does not. `fork` waits for loads ([`Guarded::acquire`]), but not for
/// short changes, each step of which leaves the value as good as it was: a child goes on from there.
static CHANGING: ProcessLock = ProcessLock::new();

/// A value in sealed memory.
pub struct Guarded<T>(UnsafeCell<T>);

// SAFETY: the value is only reached through a `Change`, of which there is one at a time.
unsafe impl<T: Send> Sync for Guarded<T> {}

/// Why nothing can be changed now.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// The calling thread is changing something already: this is an indirect function's resolver, called by a load.
    Nested,
    /// The system does not make the memory writable.
    System(Errno),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::Nested => "called by an indirect function while it is being bound",
            Self::System(errno) => errno_text(errno),
        })
    }
}

impl<T> Guarded<T> {
    /// The value, not yet changed by anybody.
    pub fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value before the program runs.
    ///
    /// # Safety
    /// Nobody can have it changed meanwhile.
    pub unsafe fn before_program(&self) -> &T {
        // SAFETY: the caller's promise.
        unsafe { &*self.0.get() }
    }

    /// Waits until no other thread is changing anything, and makes the value and everything sealed writable.
    ///
    /// # Errors
    /// Why that is impossible.
    pub fn change(&self) -> Result<Change<'_, T>, Refusal> {
        if Window::is_open_here() {
            return Err(Refusal::Nested);
        }
        CHANGING.acquire();
        match Window::open() {
            Ok(window) => Ok(Change { value: self, window: Some(window), signals: None }),
            Err(errno) => {
                CHANGING.release();
                Err(Refusal::System(errno))
            }
        }
    }

    /// The same for a change that is short, and that a signal handler may ask for, too: none runs in this thread meanwhile, which would
    /// wait for itself.
    ///
    /// # Errors
    /// Why that is impossible.
    pub fn change_briefly(&self) -> Result<Change<'_, T>, Refusal> {
        let signals = SignalsBlocked::new();
        let mut change = self.change()?;
        change.signals = Some(signals);
        Ok(change)
    }

    /// Keeps others from changing anything across a `fork`. Does nothing in a thread that is changing something.
    pub fn acquire(&self) {
        if !Window::is_open_here() {
            CHANGING.acquire();
        }
    }

    /// Ends [`Guarded::acquire`].
    pub fn release(&self) {
        if !Window::is_open_here() {
            CHANGING.release();
        }
    }
}

/// The right to change a [`Guarded`] value, and everything sealed with it.
pub struct Change<'a, T> {
    value: &'a Guarded<T>,
    /// Always there, but for the end, where it must go before the mutex.
    window: Option<Window>,
    /// The last to go.
    signals: Option<SignalsBlocked>,
}

impl<T> Deref for Change<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mutex is held.
        unsafe { &*self.value.0.get() }
    }
}

impl<T> DerefMut for Change<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is held, and this is borrowed mutably.
        unsafe { &mut *self.value.0.get() }
    }
}

impl<T> Drop for Change<'_, T> {
    fn drop(&mut self) {
        self.window = None;
        CHANGING.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_changes_at_a_time_and_only_once() {
        let value = Guarded::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let mut change = value.change().expect("nothing is sealed");
                        assert!(matches!(value.change(), Err(Refusal::Nested)));
                        *change += 1;
                    }
                });
            }
        });
        assert_eq!(*value.change().expect("nothing is sealed"), 4000);
    }
}
