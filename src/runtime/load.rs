//! Loading one more object: the same phases as at start-up. Until everything has succeeded nothing is visible to anybody,
//! so that a failure is undone by forgetting.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_int};
use core::fmt;
use core::sync::atomic::Ordering;

use crate::bind::{Entry, Group, Lookup, Scope};
use crate::discover::Discovery;
use crate::error::{LoadError, RelocationProblem, StartError};
use crate::map::{load, protect};
use crate::program::{Object, ObjectId, Origin, Program, TlsPlacement};
use crate::relocate::{Deferred, Moment, relocate, resolve_deferred, retry};
use crate::sys::{self, Errno, Text, thread_pointer};
use crate::tls::dynamic::{self, Module};

use super::initialize::{self, Queue};
use super::{LinkMap, Loader, Process};

bitflags::bitflags! {
    /// The flags of `dlopen` that mean something; the others are ignored.
    #[derive(Clone, Copy, Debug)]
    pub struct OpenFlags: c_int {
        /// `RTLD_LAZY`: symbols may stay open.
        const LAZY = 1;
        /// `RTLD_NOLOAD`: only if the object is loaded already.
        const NOLOAD = 4;
        /// `RTLD_DEEPBIND`: what is opened prefers its own symbols. musl does not know it.
        const DEEPBIND = 8;
        /// `RTLD_GLOBAL`: its symbols, and its dependencies', become visible to everybody.
        const GLOBAL = 256;
    }
}

/// Bytes of the loader's own memory that it may cost to describe an object: more than it does.
const ROOM_FOR_A_DESCRIPTION: usize = 4 << 10;

/// Why an object cannot be opened; the texts are musl's (`dlopen`).
pub enum OpenError {
    /// The process is exiting.
    Exiting,
    /// `RTLD_NOLOAD`, and it is not loaded.
    NotLoaded(CString),
    /// The object itself cannot be loaded.
    Object(CString, LoadError),
    /// Something that it needs cannot be loaded or bound.
    Failed(StartError),
    /// A thread that no longer exists was running its constructors, or loading something, when this process was forked.
    Inconsistent(CString),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exiting => f.write_str("Cannot dlopen while program is exiting."),
            Self::NotLoaded(name) => write!(f, "Library {} is not already loaded", Text::from(name)),
            Self::Object(name, error) => {
                write!(f, "Error loading shared library {}: {error}", Text::from(name))
            }
            Self::Failed(error) => write!(f, "{error}"),
            Self::Inconsistent(name) => {
                writeln!(f, "State of {} is inconsistent due to multithreaded fork", Text::from(name))
            }
        }
    }
}

impl Loader {
    /// Loads an object and what it needs; everything that is there is described. Returns the constructors that are to run now.
    ///
    /// # Errors
    /// Why it cannot be loaded; everything is as before then.
    pub fn load(
        &mut self,
        process: &'static Process,
        name: &CStr,
        flags: OpenFlags,
    ) -> Result<(&'static LinkMap, Queue), OpenError> {
        // There is one load at a time.
        if core::mem::replace(&mut self.is_loading, true) {
            return Err(OpenError::Inconsistent(name.into()));
        }
        let opened = self.open(process, name, flags);
        self.is_loading = false;
        opened
    }

    fn open(
        &mut self,
        process: &'static Process,
        name: &CStr,
        flags: OpenFlags,
    ) -> Result<(&'static LinkMap, Queue), OpenError> {
        let first_new = ObjectId(self.program.objects().len() as u32);
        let in_use = self.static_tls.in_use();
        let root = self.find(name, flags).and_then(|root| {
            if self.program.objects().len() > first_new.index() {
                self.add(process, root, first_new, flags)?;
            }
            Ok(root)
        });
        let root = root.inspect_err(|_| {
            self.forget(first_new);
            self.return_surplus(in_use);
        })?;
        let map = process.debug.map_of(root).ok_or_else(|| OpenError::NotLoaded(name.into()))?;
        self.know_group(map);
        if flags.contains(OpenFlags::GLOBAL) {
            self.make_global(process, root);
        }
        self.retry_postponed(process);
        process.generation.fetch_add(1, Ordering::Relaxed);
        let queue = match process.initialization.is_constructed(map) {
            true => Queue::new(),
            false => initialize::queue(initialize::order(&self.program, root), process.debug),
        };
        match process.initialization.find_lost(&queue) {
            Some(lost) => Err(OpenError::Inconsistent(lost.object().name.clone().into())),
            None => Ok((map, queue)),
        }
    }

    /// Does what a start with an image leaves out as long as nobody asks: describes all objects, and puts them into the global scope.
    ///
    /// # Errors
    /// An object whose tables make no sense, or for which there is no memory.
    pub fn complete(&self, scope: &Scope) -> Result<(), OpenError> {
        if !scope.is_empty() {
            return Ok(());
        }
        let room = |bytes| match sys::memory_is_available(bytes) {
            true => Ok(()),
            false => Err(LoadError::from(Errno::NOMEM)),
        };
        let told = |object: &Object, error| OpenError::Object(object.name.clone().into(), error);
        for object in self.program.objects() {
            let described = room(ROOM_FOR_A_DESCRIPTION).and_then(|()| Ok(object.describe()?));
            described.map_err(|error| told(object, error))?;
        }
        // The scope takes little more than its entries.
        let of_scope = ROOM_FOR_A_DESCRIPTION + self.program.objects().len() * size_of::<Entry>();
        room(of_scope).map_err(|error| told(&self.program[ObjectId::PROGRAM], error))?;
        scope.append(Group::new(&self.program, self.program.ids()));
        Ok(())
    }

    /// Makes sure that an object's group is known: itself and what it depends on.
    pub fn know_group(&self, map: &LinkMap) {
        if map.group().is_none() {
            let all = with_dependencies(&self.program, map.id());
            map.set_group(Group::new(&self.program, all.into_iter()));
        }
    }

    /// Finds and maps.
    fn find(&mut self, name: &CStr, flags: OpenFlags) -> Result<ObjectId, OpenError> {
        let no_load = flags.contains(OpenFlags::NOLOAD);
        let discovery = Discovery::new(&mut self.system, &mut self.program, &mut self.search);
        match discovery.open(name, no_load) {
            Ok((root, errors)) => match errors.into_iter().next() {
                Some(error) => Err(OpenError::Failed(error)),
                None => Ok(root),
            },
            Err(_) if no_load => Err(OpenError::NotLoaded(name.into())),
            Err(error) => Err(OpenError::Object(name.into(), error)),
        }
    }

    /// Makes the objects from `first_new` on part of the program.
    fn add(
        &mut self,
        process: &'static Process,
        root: ObjectId,
        first_new: ObjectId,
        flags: OpenFlags,
    ) -> Result<(), OpenError> {
        self.system.mapper.settle();
        self.place_thread_locals(first_new);
        let hidden = self.hidden(process, root);
        let lookup = Lookup {
            index: None,
            global: &process.scope,
            local: Some(&hidden),
            local_first: flags.contains(OpenFlags::DEEPBIND),
        };
        let moment = Moment::Running { lazy: flags.contains(OpenFlags::LAZY) };
        let new = self.program.ids().skip(first_new.index());
        // SAFETY: the objects are mapped and laid out, and none of their code has run.
        let relocated = unsafe { relocate(&self.program, lookup, new, moment) };
        if let Some(error) = relocated.errors.into_iter().next() {
            return Err(OpenError::Failed(error));
        }
        // SAFETY: the objects are relocated.
        unsafe { self.seal(first_new, &relocated.deferred) }?;
        self.postponed.extend(relocated.postponed);
        // SAFETY: nothing changes objects that are part of the program.
        unsafe { process.debug.add(&self.program, first_new) };
        Ok(())
    }

    /// An object and what it depends on, as far as that is not global.
    fn hidden(&self, process: &Process, root: ObjectId) -> Group {
        let all = with_dependencies(&self.program, root);
        Group::new(&self.program, all.into_iter().filter(|&id| !process.scope.contains(id)))
    }

    /// `RTLD_GLOBAL`
    fn make_global(&self, process: &Process, root: ObjectId) {
        let hidden = self.hidden(process, root);
        if !hidden.is_empty() {
            process.scope.append(hidden);
        }
    }

    /// Gives the new objects their module ids. Those with initial-exec access get a place in the surplus of static
    /// storage, as long as it lasts; the others' blocks are made when they are first used.
    fn place_thread_locals(&mut self, first_new: ObjectId) {
        let mut module = dynamic::next_module();
        for id in self.program.ids().skip(first_new.index()) {
            let object = &self.program[id];
            let Some(segment) = object.tls_segment() else { continue };
            let image = object.address(segment.vaddr);
            // Other threads that exist cannot be given initial values: without such, zero is right in all of them.
            let possible = || segment.filesz == 0 || sys::thread_count() == Some(1);
            let offset = match object.dynamic.static_tls && possible() {
                true => self.static_tls.take_surplus(&segment, image),
                false => None,
            };
            self.program[id].tls = Some(TlsPlacement { module, offset });
            module += 1;
        }
    }

    /// Makes thread-local storage usable, asks indirect functions, and protects what is read-only after relocation.
    ///
    /// # Safety
    /// The objects from `first_new` on are relocated.
    unsafe fn seal(&mut self, first_new: ObjectId, deferred: &[Deferred]) -> Result<(), OpenError> {
        let new = || self.program.iter().filter(move |(id, _)| *id >= first_new).map(|(_, object)| object);
        let modules = new().filter_map(|object| {
            let segment = object.tls_segment()?;
            let image = object.address(segment.vaddr);
            Some(Module { image, segment, offset: object.tls?.offset })
        });
        dynamic::add_modules(&modules.collect::<Vec<_>>());
        for object in new() {
            let (Some(tls), Some(segment)) = (object.tls, object.tls_segment()) else { continue };
            if let Some(image) = object.view.bytes(segment.vaddr, segment.filesz)
                && let Some(offset) = tls.offset
            {
                // SAFETY: the place in the surplus is this object's.
                unsafe { self.fill_surplus(image, offset) };
            }
            // What there is no memory for is better said now than by the program's end at first use.
            if dynamic::block_of(tls.module).is_err() {
                return Err(OpenError::Object(object.name.clone().into(), Errno::NOMEM.into()));
            }
        }
        // SAFETY: everything else is relocated, and nothing is sealed yet.
        unsafe { resolve_deferred(deferred) };
        for object in new().filter(|object| object.origin == Origin::File) {
            // SAFETY: the object is completely relocated.
            if let Err(errno) = unsafe { protect::seal_relro(object) } {
                let problem = RelocationProblem::Relro(errno);
                let error = StartError::Relocation { object: object.name.clone().into(), problem };
                return Err(OpenError::Failed(error));
            }
        }
        Ok(())
    }

    /// Initialises a block in the surplus.
    ///
    /// # Safety
    /// The place at `offset` below the thread pointer is reserved for this image.
    unsafe fn fill_surplus(&self, image: &[u8], offset: u64) {
        for place in self.surplus_places(offset) {
            // SAFETY: as large as the layout says, which `take_surplus` has checked against.
            unsafe { core::ptr::copy_nonoverlapping(image.as_ptr(), place, image.len()) };
        }
    }

    /// Gives back what has been taken of the surplus since `in_use` bytes were in use, as zero as it was.
    fn return_surplus(&mut self, in_use: u64) {
        let taken = self.static_tls.in_use() - in_use;
        for place in self.surplus_places(self.static_tls.in_use()) {
            // SAFETY: nobody has seen the objects that these bytes were for.
            unsafe { core::ptr::write_bytes(place, 0, taken as usize) };
        }
        self.static_tls.return_surplus(in_use);
    }

    /// A place in static storage: this thread's, and that in the image which libc copies for new threads.
    fn surplus_places(&self, offset: u64) -> [*mut u8; 2] {
        [thread_pointer(), self.static_image.0 + self.static_tls.size].map(|top| (top - offset) as *mut u8)
    }

    /// Takes back what has not become part of the program.
    fn forget(&mut self, first_new: ObjectId) {
        for object in self.program.truncate(first_new) {
            self.system.mapper.forget(&object.mapping.pages);
            // SAFETY: nobody has seen the object, and it is consumed here.
            unsafe { load::unmap(&object.mapping) };
        }
    }

    /// Binds what could not be bound before (`redo_lazy_relocs`).
    fn retry_postponed(&mut self, process: &Process) {
        if self.postponed.is_empty() {
            return;
        }
        let lookup = Lookup::in_global(&process.scope);
        let postponed = core::mem::take(&mut self.postponed);
        // SAFETY: the objects are mapped, and only the loader writes to slots without a value.
        let retried = unsafe { retry(&self.program, lookup, postponed) };
        self.postponed = retried.postponed;
        for error in retried.errors {
            log::warn!("{error}");
        }
    }
}

/// An object and everything it depends on, breadth first (`extend_bfs_deps`).
fn with_dependencies(program: &Program, root: ObjectId) -> Vec<ObjectId> {
    let mut seen = alloc::vec![false; program.objects().len()];
    seen[root.index()] = true;
    let mut order = alloc::vec![root];
    let mut next = 0;
    while let Some(&id) = order.get(next) {
        for &dependency in &program[id].dependencies {
            if !core::mem::replace(&mut seen[dependency.index()], true) {
                order.push(dependency);
            }
        }
        next += 1;
    }
    order
}
