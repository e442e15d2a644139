//! `dlopen`: the same phases as at start-up, for objects that are loaded later. Until everything has succeeded nothing
//! is visible to anybody, so that a failure is undone by forgetting.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_int};
use core::fmt;
use core::sync::atomic::Ordering;

use crate::bind::{Group, Lookup};
use crate::discover::Discovery;
use crate::error::{LoadError, RelocationProblem, StartError};
use crate::map::{load, protect};
use crate::program::{ObjectId, Origin, Program, TlsPlacement};
use crate::relocate::{Deferred, Postponed, relocate, resolve_deferred, retry};
use crate::sys::{self, Errno, Text};
use crate::tls::dynamic::{self, Module};
use crate::tls::x86_64::thread_pointer;

use super::debug::ListState;
use super::initialize::{self, Queue, WhenExiting};
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
        }
    }
}

/// `PTHREAD_CANCEL_DISABLE` of musl's `<pthread.h>`.
const CANCEL_DISABLE: c_int = 1;

impl Process {
    /// Opens an object and runs its constructors.
    ///
    /// # Errors
    /// Why not; everything is as before then.
    pub fn open(&'static self, name: &CStr, flags: OpenFlags) -> Result<&'static LinkMap, OpenError> {
        let cancelability = self.set_cancelability(CANCEL_DISABLE);
        let opened = self.load(name, flags);
        if let Ok((_, queue)) = &opened {
            self.initialization.run(queue, WhenExiting::Wait);
        }
        if let Some(before) = cancelability {
            self.set_cancelability(before);
        }
        opened.map(|(map, _)| map)
    }

    /// Everything but the constructors.
    fn load(&'static self, name: &CStr, flags: OpenFlags) -> Result<(&'static LinkMap, Queue), OpenError> {
        let mut loader = self.loader.lock();
        self.guard_fork(&mut loader);
        self.debug.announce(ListState::Adding);
        let opened = if self.initialization.is_exiting() {
            Err(OpenError::Exiting)
        } else {
            loader.load(self, name, flags)
        };
        self.debug.announce(ListState::Consistent);
        opened
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
    fn guard_fork(&self, loader: &mut Loader) {
        if core::mem::replace(&mut loader.fork_is_guarded, true) {
            return;
        }
        if let Some(function) = self.libc_function(b"pthread_atfork") {
            type Handler = extern "C" fn();
            // SAFETY: POSIX gives the signature; libc is up.
            unsafe {
                let function: extern "C" fn(Handler, Handler, Handler) -> c_int =
                    core::mem::transmute(function.0);
                function(before_fork, after_fork, after_fork);
            }
        }
    }
}

extern "C" fn before_fork() {
    let process = Process::get();
    process.loader.acquire();
    process.initialization.acquire();
}

extern "C" fn after_fork() {
    let process = Process::get();
    process.initialization.release();
    process.loader.release();
}

impl Loader {
    fn load(
        &mut self,
        process: &'static Process,
        name: &CStr,
        flags: OpenFlags,
    ) -> Result<(&'static LinkMap, Queue), OpenError> {
        let first_new = ObjectId(self.program.objects().len() as u32);
        let in_use = self.static_tls.in_use();
        let no_load = flags.contains(OpenFlags::NOLOAD);
        let prepared = self.prepare(process, name, no_load, first_new, flags).and_then(|prepared| {
            // SAFETY: from here on the objects stay.
            unsafe { self.seal(first_new, &prepared.deferred) }?;
            Ok(prepared)
        });
        let prepared = prepared.inspect_err(|_| {
            self.forget(first_new);
            self.static_tls.return_surplus(in_use);
        })?;
        let Prepared { root, group, postponed, .. } = prepared;
        self.postponed.extend(postponed);
        // SAFETY: nothing changes objects that are part of the program.
        unsafe { process.debug.add(&self.program, first_new) };
        process.generation.fetch_add(1, Ordering::Relaxed);
        if flags.contains(OpenFlags::GLOBAL) && !group.is_empty() {
            process.scope.append(group);
        }
        self.retry_postponed(process);
        let map = process.debug.map_of(root).ok_or_else(|| OpenError::NotLoaded(name.into()))?;
        if map.group().is_none() {
            map.set_group(Group::new(&self.program, with_dependencies(&self.program, root).into_iter()));
        }
        Ok((map, initialize::queue(&self.program, root, process.debug)))
    }

    /// Finds, maps and relocates; whatever it has done is undone by [`Loader::forget`].
    fn prepare(
        &mut self,
        process: &Process,
        name: &CStr,
        no_load: bool,
        first_new: ObjectId,
        flags: OpenFlags,
    ) -> Result<Prepared, OpenError> {
        let discovery = Discovery::new(&mut self.system, &mut self.program, &mut self.search);
        let root = match discovery.open(name, no_load) {
            Ok((root, errors)) => match errors.into_iter().next() {
                Some(error) => return Err(OpenError::Failed(error)),
                None => root,
            },
            Err(_) if no_load => return Err(OpenError::NotLoaded(name.into())),
            Err(error) => return Err(OpenError::Object(name.into(), error)),
        };
        self.place_thread_locals(first_new);
        let all = with_dependencies(&self.program, root);
        let hidden = all.into_iter().filter(|&id| !process.scope.contains(id));
        let group = Group::new(&self.program, hidden);
        let lookup = Lookup {
            global: &process.scope,
            local: Some(&group),
            local_first: flags.contains(OpenFlags::DEEPBIND),
        };
        let lazy = flags.contains(OpenFlags::LAZY);
        let new = self.program.ids().skip(first_new.index());
        // SAFETY: the objects are mapped and laid out, and none of their code has run.
        let relocated = unsafe { relocate(&self.program, lookup, new, lazy) };
        match relocated.errors.into_iter().next() {
            Some(error) => Err(OpenError::Failed(error)),
            None => {
                Ok(Prepared { root, group, postponed: relocated.postponed, deferred: relocated.deferred })
            }
        }
    }

    /// Gives the new objects their module ids. Those with initial-exec access get a place in the surplus of static
    /// storage, as long as it lasts; the others' blocks are made when they are first used.
    fn place_thread_locals(&mut self, first_new: ObjectId) {
        let mut module = dynamic::next_module();
        for id in self.program.ids().skip(first_new.index()) {
            let object = &self.program[id];
            let Some(segment) = object.segments.tls else { continue };
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
            let segment = object.segments.tls?;
            let image = object.address(segment.vaddr);
            Some(Module { image, segment, offset: object.tls?.offset })
        });
        dynamic::add_modules(modules);
        for object in new() {
            let (Some(tls), Some(segment)) = (object.tls, object.segments.tls) else { continue };
            if let Some(image) = object.view.bytes(segment.vaddr, segment.filesz)
                && let Some(offset) = tls.offset
            {
                // SAFETY: the place in the surplus is this object's.
                unsafe { self.fill_surplus(image, offset) };
            }
            // What there is no memory for is better said now than by the program's end at first use.
            if dynamic::block_of(tls.module).is_err() {
                return Err(OpenError::Object(object.name.clone(), Errno::NOMEM.into()));
            }
        }
        // SAFETY: everything else is relocated, and nothing is sealed yet.
        unsafe { resolve_deferred(deferred) };
        for object in new().filter(|object| object.origin == Origin::File) {
            // SAFETY: the object is completely relocated.
            if let Err(errno) = unsafe { protect::seal_relro(object) } {
                let problem = RelocationProblem::Relro(errno);
                let error = StartError::Relocation { object: object.name.clone(), problem };
                return Err(OpenError::Failed(error));
            }
        }
        Ok(())
    }

    /// Initialises a block in the surplus: for this thread, and in the image that libc copies for new ones.
    ///
    /// # Safety
    /// The place at `offset` below the thread pointer is reserved for this image.
    unsafe fn fill_surplus(&self, image: &[u8], offset: u64) {
        for top in [thread_pointer(), self.static_image.0 + self.static_tls.size] {
            // SAFETY: both are as large as the layout says, which `take_surplus` has checked against.
            unsafe { core::ptr::copy_nonoverlapping(image.as_ptr(), (top - offset) as *mut u8, image.len()) };
        }
    }

    /// Takes back what has not become part of the program.
    fn forget(&mut self, first_new: ObjectId) {
        for object in self.program.truncate(first_new) {
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

/// What is ready to become part of the program.
struct Prepared {
    root: ObjectId,
    group: Group,
    postponed: Vec<Postponed>,
    deferred: Vec<Deferred>,
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
