//! Locks for the running program's loader: a mutex and a condition on futexes (`futex(2)`), without owner or
//! recursion, so that a lock may be taken before `fork` and given back in the child.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::futex;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and others may be asleep.
const CONTENDED: u32 = 2;

/// Mutual exclusion.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached while the lock is held.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits until the lock is free, and takes it.
    pub fn lock(&self) -> Guard<'_, T> {
        self.acquire();
        Guard(self)
    }

    /// Takes the lock across a `fork`; [`Mutex::release`] gives it back.
    pub fn acquire(&self) {
        if self.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return;
        }
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            // Woken for whatever reason, the loop looks again.
            let _ = futex::wait(&self.state, futex::Flags::PRIVATE, CONTENDED, None);
        }
    }

    /// Takes the lock, whoever has it. Only where there is no other thread.
    pub fn take_over(&self) {
        self.state.store(TAKEN, Ordering::Relaxed);
    }

    /// The value, for who has called [`Mutex::acquire`].
    ///
    /// # Safety
    /// The lock is held by the caller, and there is no guard.
    #[expect(clippy::mut_from_ref, reason = "the lock makes the reference unique")]
    pub unsafe fn locked(&self) -> &mut T {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.value.get() }
    }

    /// Gives the lock back. Only for who has called [`Mutex::acquire`].
    pub fn release(&self) {
        if self.state.swap(FREE, Ordering::Release) == CONTENDED {
            let _ = futex::wake(&self.state, futex::Flags::PRIVATE, 1);
        }
    }
}

/// A lock that knows which process has it: what a `fork` copies of a thread that does not exist in the child keeps nobody out there.
#[derive(Debug, Default)]
pub struct ProcessLock(AtomicU32);

/// In a [`ProcessLock`], beside the process: others may be asleep.
const WAITED_FOR: u32 = 1 << 31;

impl ProcessLock {
    /// An unlocked one.
    pub const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    /// Waits until no thread of this process has the lock, and takes it.
    pub fn acquire(&self) {
        let own = super::process_id();
        let mut taken = own;
        let mut seen = FREE;
        loop {
            match self.0.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) if now & !WAITED_FOR != own => seen = now,
                Err(now) => {
                    let waited_for = now | WAITED_FOR;
                    let marked =
                        self.0.compare_exchange(now, waited_for, Ordering::Relaxed, Ordering::Relaxed);
                    if marked.is_ok() {
                        // Woken for whatever reason, the loop looks again. There may be others who wait.
                        let _ = futex::wait(&self.0, futex::Flags::PRIVATE, waited_for, None);
                        (seen, taken) = (FREE, own | WAITED_FOR);
                    }
                }
            }
        }
    }

    /// Gives the lock back. Only for who has called [`ProcessLock::acquire`], or is the child of who has.
    pub fn release(&self) {
        if self.0.swap(FREE, Ordering::Release) & WAITED_FOR != 0 {
            let _ = futex::wake(&self.0, futex::Flags::PRIVATE, 1);
        }
    }
}

/// The right to use what a mutex protects.
pub struct Guard<'a, T>(&'a Mutex<T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and this guard is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Something to wait for while a mutex is given back.
#[derive(Debug, Default)]
pub struct Condition {
    changes: AtomicU32,
    waiting: AtomicU32,
}

impl Condition {
    /// Gives the mutex back, waits for [`Condition::notify_all`], and takes the mutex again. May return without a reason.
    pub fn wait<'a, T>(&self, guard: Guard<'a, T>) -> Guard<'a, T> {
        let seen = self.changes.load(Ordering::Relaxed);
        let mutex = guard.0;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        drop(guard);
        let _ = futex::wait(&self.changes, futex::Flags::PRIVATE, seen, None);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        mutex.lock()
    }

    /// Wakes everybody who waits, after a change that was made with the mutex held.
    pub fn notify_all(&self) {
        // Who began to wait before the change was counted before the mutex was given back.
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.changes.fetch_add(1, Ordering::Relaxed);
            let _ = futex::wake(&self.changes, futex::Flags::PRIVATE, i32::MAX as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_of_many_threads_are_all_counted() {
        let mutex = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| *mutex.lock() += 1));
            }
        });
        assert_eq!(*mutex.lock(), 80_000);
    }

    #[test]
    fn a_process_lock_lets_one_thread_in_at_a_time() {
        struct Count(UnsafeCell<u32>);
        // SAFETY: only used with the lock held.
        unsafe impl Sync for Count {}
        let (lock, count) = (ProcessLock::new(), Count(UnsafeCell::new(0)));
        let count = &count;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        lock.acquire();
                        // SAFETY: the lock is held.
                        unsafe { *count.0.get() += 1 };
                        lock.release();
                    }
                });
            }
        });
        // SAFETY: nobody else is there.
        assert_eq!(unsafe { *count.0.get() }, 80_000);
    }

    #[test]
    fn what_another_process_has_locked_is_free() {
        let lock = ProcessLock(AtomicU32::new(super::super::process_id() + 1));
        lock.acquire();
        lock.release();
        assert_eq!(lock.0.into_inner(), FREE);
    }

    #[test]
    fn waiters_are_woken() {
        let (mutex, condition) = (Mutex::new(false), Condition::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut ready = mutex.lock();
                    while !*ready {
                        ready = condition.wait(ready);
                    }
                });
            }
            *mutex.lock() = true;
            condition.notify_all();
        });
    }
}
