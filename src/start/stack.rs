//! The initial stack that the kernel gives a program (psABI, "Process Initialization"): arguments, environment,
//! auxiliary vector.

use core::ffi::{CStr, c_char};

use linux_raw_sys::auxvec::{AT_EGID, AT_EUID, AT_GID, AT_NULL, AT_SECURE, AT_UID};

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

    /// The entries of the environment that begin with `prefix`. The others, most of them, are not even measured.
    pub fn environment(&self, prefix: &'static [u8]) -> impl Iterator<Item = &'static CStr> + use<> {
        let begins = move |text: *const c_char| {
            let mut wanted = prefix.iter().enumerate();
            // SAFETY: goes on to the next byte only if this one was not the terminating NUL.
            wanted.all(|(index, &byte)| unsafe { *text.add(index) } as u8 == byte)
        };
        // SAFETY: the strings live as long as the process.
        pointers(self.environment)
            .filter(move |&text| begins(text))
            .map(|text| unsafe { CStr::from_ptr(text) })
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

    /// The value of an auxiliary entry; the last one counts, as in musl.
    pub fn auxiliary_value(&self, key: u32) -> Option<u64> {
        // SAFETY: the entries are valid and nobody changes them meanwhile.
        let entries = self.auxiliary().map(|entry| unsafe { *entry });
        entries.filter(|entry| entry.key == u64::from(key)).last().map(|entry| entry.value)
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

    /// Replaces the program's name for itself.
    ///
    /// # Safety
    /// There is at least one argument.
    pub unsafe fn set_program_name(&self, name: &'static CStr) {
        // SAFETY: in bounds, as the caller says.
        unsafe { *self.arguments = name.as_ptr() };
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
