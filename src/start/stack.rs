//! The initial stack that the kernel gives a program (psABI, "Process Initialization"): arguments, environment,
//! auxiliary vector.

use core::ffi::{CStr, c_char};

use linux_raw_sys::auxvec::{AT_EGID, AT_EUID, AT_GID, AT_NULL, AT_SECURE, AT_UID};

use super::x86_64;

/// Bytes that are free below the initial stack.
pub(super) const ROOM: usize = 128;

/// One entry of the auxiliary vector.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Auxiliary {
    /// `AT_*`
    pub key: u64,
    /// What it means depends on the key.
    pub value: u64,
}

/// The initial stack. It stays where it is for the life of the process; libc and the program read it, too.
#[derive(Clone, Copy, Debug)]
pub struct InitialStack {
    /// The address of `argc`, which is the program's initial stack pointer.
    pointer: *mut u64,
    arguments: *mut *const c_char,
    environment: *mut *const c_char,
    auxiliary: *mut Auxiliary,
}

impl InitialStack {
    /// Finds the parts of the stack.
    ///
    /// # Safety
    /// `pointer` is the stack pointer at the entry of the process, or of the same shape.
    pub unsafe fn new(pointer: *mut u64) -> Self {
        // SAFETY: the kernel writes argc, argv, a null, the environment, a null and the auxiliary vector one after
        // the other.
        unsafe {
            let arguments = pointer.add(1).cast::<*const c_char>();
            let environment = arguments.add(*pointer as usize + 1);
            let mut end = environment;
            while !(*end).is_null() {
                end = end.add(1);
            }
            Self { pointer, arguments, environment, auxiliary: end.add(1).cast() }
        }
    }

    /// The stack pointer to start a program with.
    pub fn pointer(&self) -> *mut u64 {
        self.pointer
    }

    /// The arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &'static CStr> + use<> {
        // SAFETY: the strings live as long as the process.
        pointers(self.arguments).map(|text| unsafe { CStr::from_ptr(text) })
    }

    /// The argument array, for `execve`.
    pub fn argument_array(&self) -> *const *const u8 {
        self.arguments.cast_const().cast()
    }

    /// The entries of the environment. Most of them nobody wants to be measured.
    pub fn variables(&self) -> impl Iterator<Item = Unmeasured> + use<> {
        pointers(self.environment).map(Unmeasured)
    }

    /// Those that begin with `prefix`.
    pub fn environment(&self, prefix: &'static [u8]) -> impl Iterator<Item = &'static CStr> + use<> {
        let wanted = self.variables().filter(move |entry| entry.without(prefix).is_some());
        // SAFETY: the strings live as long as the process.
        wanted.map(|entry| unsafe { CStr::from_ptr(entry.0) })
    }

    /// The environment array, for `execve`.
    pub fn environment_array(&self) -> *const *const u8 {
        self.environment.cast_const().cast()
    }

    /// The entries of the auxiliary vector.
    pub fn auxiliary(&self) -> impl Iterator<Item = *mut Auxiliary> + use<> {
        let mut next = self.auxiliary;
        core::iter::from_fn(move || {
            // SAFETY: the vector ends with `AT_NULL`, which is not passed.
            unsafe {
                let entry = next;
                if (*entry).key == u64::from(AT_NULL) {
                    return None;
                }
                next = entry.add(1);
                Some(entry)
            }
        })
    }

    /// An auxiliary entry; the last one counts, as in musl.
    pub fn auxiliary_entry(&self, key: u32) -> Option<*mut Auxiliary> {
        // SAFETY: the entries are valid and nobody changes them meanwhile.
        self.auxiliary().filter(|&entry| unsafe { (*entry).key } == u64::from(key)).last()
    }

    /// Its value.
    pub fn auxiliary_value(&self, key: u32) -> Option<u64> {
        // SAFETY: likewise.
        self.auxiliary_entry(key).map(|entry| unsafe { (*entry).value })
    }

    /// Whether the program runs with rights that its caller lacks (`libc.secure` in musl's `__dls3`): also when the
    /// kernel does not say.
    pub fn is_secure(&self) -> bool {
        let value = |key| self.auxiliary_value(key);
        let differ = |real, effective| value(real).is_none() || value(real) != value(effective);
        differ(AT_UID, AT_EUID)
            || differ(AT_GID, AT_EGID)
            || value(AT_SECURE).is_some_and(|secure| secure != 0)
    }

    /// The stack as the program sees it when `count` arguments in front are ours: `argc` is written over the last of
    /// them, as musl does.
    ///
    /// # Safety
    /// `count` is less than the number of arguments, and nobody uses the removed ones through the stack any more.
    pub unsafe fn without_arguments(&self, count: usize) -> Self {
        // SAFETY: in bounds, as the caller says.
        unsafe {
            let pointer = self.pointer.add(count);
            *pointer = *self.pointer - count as u64;
            Self { pointer, arguments: self.arguments.add(count), ..*self }
        }
    }

    /// The stack further down, so that there is room for a `T` behind the auxiliary vector, where nobody will look but
    /// [`InitialStack::kept`].
    ///
    /// # Safety
    /// The stack is at the entry of the process, and nothing has been put in the `ROOM` below it.
    pub unsafe fn lowered<T: Copy>(&self) -> Self {
        const { assert!(size_of::<T>() <= ROOM && align_of::<T>() <= align_of::<u64>()) };
        let size = size_of::<T>().next_multiple_of(16);
        // SAFETY: in bounds, as the caller says.
        unsafe {
            let lower = self.pointer.byte_sub(size);
            let count = self.kept::<u64>().offset_from_unsigned(self.pointer);
            x86_64::copy_words(self.pointer, lower, count);
            Self {
                pointer: lower,
                arguments: self.arguments.byte_sub(size),
                environment: self.environment.byte_sub(size),
                auxiliary: self.auxiliary.byte_sub(size),
            }
        }
    }

    /// What is behind the auxiliary vector.
    pub fn kept<T>(&self) -> *mut T {
        let last = self.auxiliary().last().unwrap_or(self.auxiliary.wrapping_sub(1));
        // Behind `AT_NULL`.
        last.wrapping_add(2).cast()
    }

    /// Replaces the program's name for itself.
    ///
    /// # Safety
    /// There is at least one argument.
    pub unsafe fn set_program_name(&self, name: &'static CStr) {
        // SAFETY: in bounds, as the caller says.
        unsafe { *self.arguments = name.as_ptr() };
    }
}

/// A string on the initial stack, of which nobody knows how long it is.
#[derive(Clone, Copy, Debug)]
pub struct Unmeasured(*const c_char);

impl Unmeasured {
    /// What follows `prefix`, if it begins with that.
    pub fn without(self, prefix: &[u8]) -> Option<Self> {
        let mut rest = self.0;
        for &byte in prefix {
            // SAFETY: goes on to the next byte only if this one was not the terminating NUL.
            if unsafe { *rest } as u8 != byte || byte == 0 {
                return None;
            }
            rest = rest.wrapping_add(1);
        }
        Some(Self(rest))
    }

    /// Whether it is `text`.
    pub fn is(self, text: &[u8]) -> bool {
        // SAFETY: all of these bytes are there, and the one behind them.
        self.without(text).is_some_and(|rest| unsafe { *rest.0 } == 0)
    }
}

impl From<&'static CStr> for Unmeasured {
    fn from(text: &'static CStr) -> Self {
        Self(text.as_ptr())
    }
}

/// The elements of a null-terminated array on the initial stack.
fn pointers(mut next: *mut *const c_char) -> impl Iterator<Item = *const c_char> {
    core::iter::from_fn(move || {
        // SAFETY: the array ends with a null, which is not passed.
        unsafe {
            let text = *next;
            if text.is_null() {
                return None;
            }
            next = next.add(1);
            Some(text)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::vec;

    use linux_raw_sys::auxvec::{AT_BASE, AT_ENTRY};

    use super::*;

    const FREE: usize = ROOM / size_of::<u64>();

    /// A stack of one argument, one variable and two auxiliary entries, behind free room; then what the kernel has put there.
    fn stack_words(argument: &'static CStr, variable: &'static CStr) -> vec::Vec<u64> {
        let [argument, variable] = [argument, variable].map(|text| text.as_ptr() as u64);
        let auxiliary = [u64::from(AT_BASE), 11, u64::from(AT_ENTRY), 22, 0, 0];
        [&[0; FREE][..], &[1, argument, 0, variable, 0], &auxiliary, &[77]].concat()
    }

    #[test]
    fn a_lowered_stack_says_the_same_and_has_room() {
        let mut words = stack_words(c"program", c"A=b");
        let beyond = words.len() - 1;
        // SAFETY: the words have the shape of a stack, with free room below it.
        unsafe {
            let lowered = InitialStack::new(words.as_mut_ptr().add(FREE)).lowered::<[u64; 3]>();
            assert_eq!(lowered.kept::<[u64; 3]>().addr() + 32, words.as_ptr().add(beyond).addr());
            lowered.kept::<[u64; 3]>().write([7, 8, 9]);
            assert_eq!(lowered.pointer().addr() % 16, words.as_ptr().add(FREE).addr() % 16);
            let again = InitialStack::new(lowered.pointer());
            assert_eq!(again.kept::<[u64; 3]>().read(), [7, 8, 9]);
            assert!(again.arguments().eq([c"program"]) && again.environment(b"A").eq([c"A=b"]));
            assert_eq!(
                (again.auxiliary_value(AT_BASE), again.auxiliary_value(AT_ENTRY)),
                (Some(11), Some(22))
            );
        }
        assert_eq!(words[beyond], 77);
    }

    #[test]
    fn strings_are_read_no_further_than_they_reach() {
        let text = Unmeasured::from(c"LD_X=on");
        assert!(text.without(b"LD_").is_some_and(|rest| rest.is(b"X=on") && !rest.is(b"X=o")));
        assert!(text.without(b"LD_X=on\0more").is_none() && !text.is(b"LD_X=on\0"));
    }
}
