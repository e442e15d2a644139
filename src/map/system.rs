//! The real [`World`]: discovery's view of the system.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::discover::World;
use crate::elf::Address;
use crate::error::LoadError;
use crate::program::{Object, Origin};
use crate::sys::{self, Errno, File, FileIdentity, Text};

use super::{Mapper, load};

/// The system, with the chosen mapping backend.
pub struct System<M: Mapper + ?Sized = dyn Mapper> {
    /// Maps what is loaded.
    pub mapper: Box<M>,
    /// `--list`: tell the user what is found.
    pub list: bool,
}

impl<M: Mapper + ?Sized> World for System<M> {
    type File = File;

    fn open(&mut self, path: &CStr) -> Result<File, Errno> {
        sys::open(path)
    }

    fn identity(&mut self, file: &File) -> Result<(FileIdentity, u64), Errno> {
        file.status()
    }

    fn load(
        &mut self,
        file: File,
        identity: FileIdentity,
        size: u64,
        name: CString,
        origin: Origin,
    ) -> Result<Box<Object>, LoadError> {
        load::load(file, identity, size, name, origin, &mut *self.mapper)
    }

    fn unload(&mut self, object: Box<Object>) {
        self.mapper.forget(&object.mapping.pages);
        // SAFETY: the object has just been mapped and is consumed here, with everything that refers to it.
        unsafe { load::unmap(&object.mapping) };
    }

    fn contents(&mut self, file: File) -> Result<Vec<u8>, Errno> {
        file.contents()
    }

    fn executable<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        sys::read_link(c"/proc/self/exe", buffer)
    }

    fn announce(&mut self, name: &CStr, path: &CStr, start: Address) {
        if self.list {
            let (name, path) = (Text::from(name), Text::from(path));
            sys::print(sys::stdout(), format_args!("\t{name} => {path} ({start:?})\n"));
        }
    }
}
