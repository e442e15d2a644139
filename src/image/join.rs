//! The objects of a process that has an image. If it preloads what the image does not know, the libraries are searched for as
//! ever, but members need not be loaded; the image stays in use if its members come in their recorded order, whatever is between
//! them. What refers to a name that one of the others defines is bound anew; no other binding can be different.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::bind;
use crate::discover::{Discovery, Host, Search, Wishes, World};
use crate::elf::{Address, SymbolName, Vaddr};
use crate::error::LoadError;
use crate::map::{System, protect};
use crate::program::{Object, ObjectId, Origin, Program};
use crate::relocate::Rebound;
use crate::sys::{Errno, File, FileIdentity};

use super::attach::Attached;
use super::check::Refusal;
use super::format::{List, Member, Rewritten, Role};
use super::mapped::{self, Mapped};
use super::references::{References, reference};

/// What a start goes on with.
pub struct Start {
    /// The image.
    pub image: Attached,
    /// All objects of the process.
    pub program: Program,
    /// What a search for further libraries must know.
    pub search: Search,
}

/// An image that is not used after all.
pub struct Left {
    /// Where it is.
    pub path: CString,
    /// Why it is not used.
    pub cause: Refusal,
    /// The program, as if nothing had been tried.
    pub program: Box<Object>,
    /// Likewise this loader.
    pub loader: Box<Object>,
}

/// The image's parts that a search may come across.
struct Members<'a> {
    system: &'a mut System,
    image: &'a Attached,
    members: Vec<Member<'static>>,
    /// The member that is likely to be the next one.
    next: usize,
}

impl Attached {
    /// All objects of a process that preloads what the image does not know; the program and the loader are there already.
    ///
    /// # Errors
    /// The image cannot be used together with what is preloaded.
    #[cold]
    #[inline(never)]
    pub fn join(
        mut self,
        program: Box<Object>,
        loader: Box<Object>,
        wishes: Wishes,
        preload: Option<&CStr>,
        system: &mut System,
    ) -> Result<Start, Left> {
        let libc = self.tables.members.iter().find(|member| member.role == Role::Libc);
        let libc = libc.map(|libc| self.object(&libc)).filter(|libc| libc.describe().is_ok());
        let Some(libc) = libc else {
            return Err(self.leave(Refusal::Damaged("its libc"), program, loader));
        };
        let mut search = Search::new(Some(Host { loader, libc }), wishes);
        let mut objects = Program::default();
        objects.add(program);
        let mut world =
            Members { system, image: &self, members: self.tables.members.iter().collect(), next: 0 };
        let errors = Discovery::new(&mut world, &mut objects, &mut search).start(preload);
        let joined = match errors.is_empty() {
            true => self.recognise(&mut objects),
            // The usual way will report them.
            false => Err(Refusal::Added("a library cannot be loaded")),
        };
        match joined {
            Ok(()) => {
                system.mapper.settle();
                Ok(Start { image: self, program: objects, search })
            }
            Err(cause) => {
                let loader = search.take_host().map(|host| host.loader);
                let unload = |object| system.unload(object);
                let (program, loader) = self.take_apart(objects, loader, unload);
                Err(self.leave(cause, program, loader))
            }
        }
    }

    /// Finds out which objects are members, and what is to be bound anew because of the others.
    fn recognise(&mut self, program: &mut Program) -> Result<(), Refusal> {
        let is_added = |object: &Object| object.origin == Origin::File && !self.holds(object);
        let (added, known): (Vec<_>, Vec<_>) = program.ids().partition(|&id| is_added(&program[id]));
        let members = &self.tables.members;
        if known.len() < members.len() {
            return Err(Refusal::Added("a library of the image is not loaded"));
        }
        let is = |(&id, member): (&ObjectId, Member<'_>)| {
            let object = &program[id];
            match member.role {
                Role::Program => object.origin == Origin::Kernel,
                Role::Loader => object.origin == Origin::Loader,
                Role::Libc => object.origin == Origin::Libc,
                Role::Library => object.origin == Origin::File && object.identity == member.identity,
            }
        };
        if known.len() > members.len() || !known.iter().zip(members).all(is) {
            return Err(Refusal::Added("the image's libraries come in another order"));
        }
        // Modules that wait for their first use come behind all others, and are known by their numbers.
        let waits = |member: Member<'_>| member.tls.is_some_and(|tls| tls.offset.is_none());
        if members.iter().any(waits) && added.iter().any(|&id| program[id].summary.has_tls) {
            return Err(Refusal::Added("thread-local storage of a library that waits for its first use"));
        }
        self.added.objects = added;
        let members: Vec<Member<'_>> = members.iter().collect();
        known.into_iter().zip(&members).for_each(|(id, member)| self.add(id, member));
        self.added.rebound = self.rebound(program)?;
        self.restore(program)?;
        for of_object in self.added.rebound.chunk_by(|a, b| a.object == b.object) {
            let object = &program[of_object[0].object];
            if object.mapping.sealed && of_object.iter().any(|entry| is_in_relro(object, entry)) {
                // SAFETY: only relocation writes there, until the object is sealed like others.
                let opened = unsafe { protect::open_relro(object) };
                opened.map_err(|errno| Refusal::System("mprotect", errno))?;
                program[of_object[0].object].mapping.sealed = false;
            }
        }
        Ok(())
    }

    /// Whether an object is mapped in the image.
    fn holds(&self, object: &Object) -> bool {
        self.windows.iter().any(|window| window.contains(&object.mapping.pages.start.0))
    }

    /// What refers to names that added objects define, in order.
    fn rebound(&self, program: &Program) -> Result<Vec<Rebound>, Refusal> {
        let references = References::parse(self.index()?).ok_or(Refusal::Damaged("its index"))?;
        let mut rebound = Vec::new();
        for &id in &self.added.objects {
            let table = &program[id].symbols;
            let symbols = table.exports().filter_map(|number| table.get(number)).filter(bind::may_be_taken);
            for name in symbols.filter_map(|symbol| table.name_of(&symbol)) {
                for (member, number) in references.candidates(&name) {
                    let id = self.ids.get(member as usize).ok_or(Refusal::Damaged("its index"))?;
                    let reference = reference(&program[*id], number);
                    let (relocation, other) = reference.ok_or(Refusal::Damaged("its index"))?;
                    if other.bytes() == name.bytes() {
                        rebound.push(Rebound { object: *id, relocation });
                    }
                }
            }
        }
        rebound.sort_unstable_by_key(Rebound::place);
        // Several objects may define a name.
        rebound.dedup_by_key(|entry| entry.place());
        Ok(rebound)
    }

    /// Gives libraries their own code back that calls functions directly which are other ones now.
    fn restore(&self, program: &Program) -> Result<(), Refusal> {
        let (Some(aside), Some(file)) = (self.tables.rewritten, &self.file) else { return Ok(()) };
        let (_, size) = file.status().map_err(|errno| Refusal::System("fstat", errno))?;
        if aside.size > size {
            return Err(Refusal::Damaged("its list of direct calls is longer than the file"));
        }
        let mut bytes = vec![0; aside.size as usize];
        let read = file.read_at(&mut bytes, aside.offset).map_err(|errno| Refusal::System("read", errno))?;
        let rewritten: Option<List<'_, Rewritten<'_>>> = aside.list(&bytes[..read]);
        let rewritten = rewritten.ok_or(Refusal::Damaged("its list of direct calls"))?;
        let is_other = |name: &[u8]| {
            let name = SymbolName::new(name);
            self.added.objects.iter().any(|&id| bind::definition_of(&program[id], &name).is_some())
        };
        let windows = Mapped::again(self.windows.into());
        let affected = rewritten.iter().filter(|rewritten| rewritten.symbols.iter().any(is_other));
        let mut original = affected.flat_map(|rewritten| rewritten.original.iter());
        let restored = original.try_for_each(|region| windows.change(file, self.place, &region));
        windows.keep();
        restored
    }

    fn index(&self) -> Result<&'static [u8], Refusal> {
        let index = self.tables.index.ok_or(Refusal::Damaged("no index"))?;
        let window = self.windows.first().ok_or(Refusal::Damaged("no window"))?;
        mapped::part(window, &index).ok_or(Refusal::Damaged("its index"))
    }

    /// Takes everything out of the process again that has been loaded beside the image; what is left are the program and the
    /// loader, which may be among the `others`.
    pub(super) fn take_apart(
        &self,
        mut program: Program,
        others: impl IntoIterator<Item = Box<Object>>,
        mut unload: impl FnMut(Box<Object>),
    ) -> (Box<Object>, Box<Object>) {
        let (mut own, mut loader) = (None, None);
        for mut object in program.truncate(ObjectId::PROGRAM).chain(others) {
            match object.origin {
                Origin::Kernel => {
                    object.dependencies.clear();
                    (object.idle_constructors, object.idle_destructors) = (false, false);
                    own = Some(object);
                }
                Origin::Loader => loader = Some(object),
                Origin::File if !self.holds(&object) => unload(object),
                _ => {}
            }
        }
        own.zip(loader).expect("they were there at the beginning")
    }

    /// Takes the image out of the process; nothing refers to it any more.
    pub(super) fn leave(self, cause: Refusal, program: Box<Object>, loader: Box<Object>) -> Left {
        let Attached { path, windows, .. } = self;
        drop(Mapped::again(windows.into()));
        Left { path, cause, program, loader }
    }
}

fn is_in_relro(object: &Object, entry: &Rebound) -> bool {
    const LARGEST: u64 = 16;
    let slot = entry.relocation.slot;
    let end = Vaddr(slot.0.saturating_add(LARGEST));
    object.segments.relro.as_ref().is_some_and(|relro| relro.start < end && slot < relro.end)
}

impl World for Members<'_> {
    type File = File;

    fn open(&mut self, path: &CStr) -> Result<File, Errno> {
        self.system.open(path)
    }

    fn identity(&mut self, file: &File) -> Result<(FileIdentity, u64), Errno> {
        self.system.identity(file)
    }

    /// A member is mapped already.
    fn load(
        &mut self,
        file: File,
        identity: FileIdentity,
        size: u64,
        name: CString,
        origin: Origin,
    ) -> Result<Box<Object>, LoadError> {
        let members = &self.members;
        let is_it = |&at: &usize| {
            let member = &members[at];
            member.role == Role::Library && member.identity == Some(identity)
        };
        let Some(at) = (self.next..members.len()).chain(0..self.next).find(is_it) else {
            return self.system.load(file, identity, size, name, origin);
        };
        self.next = at + 1;
        let mut object = self.image.object(&members[at]);
        object.describe()?;
        object.name = name.into();
        Ok(object)
    }

    fn unload(&mut self, object: Box<Object>) {
        if !self.image.holds(&object) {
            self.system.unload(object);
        }
    }

    fn contents(&mut self, file: File) -> Result<Vec<u8>, Errno> {
        self.system.contents(file)
    }

    fn executable<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        self.system.executable(buffer)
    }

    fn announce(&mut self, name: &CStr, path: &CStr, start: Address) {
        self.system.announce(name, path, start);
    }
}
