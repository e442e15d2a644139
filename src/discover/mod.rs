//! Which objects a program consists of, and in which order: preloaded ones, then dependencies breadth first, each
//! found by musl's search rules (`load_library`, `load_preload`, `load_deps`).
//!
//! Whatever touches the system goes through [`World`], so that the rules run in unit tests.

pub mod search;
#[cfg(test)]
mod tests;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::elf::Address;
use crate::error::{LoadError, StartError};
use crate::program::{Object, ObjectId, Origin, Program, SearchPath};
use crate::sys::{Errno, FileIdentity, Text};

/// What discovery needs of the system.
pub trait World {
    /// An open file.
    type File;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the system says.
    fn open(&mut self, path: &CStr) -> Result<Self::File, Errno>;

    /// Which file that is, and its size in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&mut self, file: &Self::File) -> Result<(FileIdentity, u64), Errno>;

    /// Maps the object in `file`, which shall be a library or libc.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    fn load(
        &mut self,
        file: Self::File,
        identity: FileIdentity,
        size: u64,
        name: CString,
        origin: Origin,
    ) -> Result<Box<Object>, LoadError>;

    /// Takes an object out of memory that [`World::load`] has just mapped.
    fn unload(&mut self, object: Box<Object>);

    /// All of a file's contents.
    ///
    /// # Errors
    /// What the system says.
    fn contents(&mut self, file: Self::File) -> Result<Vec<u8>, Errno>;

    /// The path of the program that the kernel runs, if it fits into `buffer`.
    ///
    /// # Errors
    /// What the system says.
    fn executable<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno>;

    /// Tells the user of `--list` what a name has been resolved to.
    fn announce(&mut self, name: &CStr, path: &CStr, start: Address);
}

/// libc and this loader, ready to enter the program when something first asks for libc.
pub struct Host {
    /// This loader: it stands just before libc, whose loader functions it replaces.
    pub loader: Box<Object>,
    /// The C library.
    pub libc: Box<Object>,
}

/// What the user and the program's start say about the search. It holds for the life of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// The name of the interpreter: what the program calls it, or what we were called on the command line
    /// (`ldso.name` in musl). It is another name of libc, and the path file is sought near it.
    pub interpreter: &'static CStr,
    /// `LD_LIBRARY_PATH`
    pub library_path: Option<&'static CStr>,
    /// Do not trust what the caller of a privileged program controls.
    pub secure: bool,
}

/// What the search keeps from one library to the next.
pub struct Search {
    wishes: Wishes,
    /// Taken when libc enters the program.
    host: Option<Host>,
    libc_path: CString,
    system_path: Option<Cow<'static, [u8]>>,
    /// The names of libc that have been announced: musl announces each once.
    announced: Vec<CString>,
}

impl Search {
    /// Nothing searched yet. `host` is `None` if no libc was found.
    pub fn new(host: Option<Host>, wishes: Wishes) -> Self {
        let libc_path = host.as_ref().map(|host| host.libc.name.clone().into_owned()).unwrap_or_default();
        Self { wishes, host, libc_path, system_path: None, announced: Vec::new() }
    }

    /// The search of a program for which an image has found everything that it starts with. `libc_path` is where libc is.
    pub fn done(libc_path: CString, wishes: Wishes) -> Self {
        Self { wishes, host: None, libc_path, system_path: None, announced: Vec::new() }
    }

    /// libc, if nothing asked for it.
    pub fn take_host(&mut self) -> Option<Host> {
        self.host.take()
    }
}

/// Discovery under way.
pub struct Discovery<'a, W> {
    world: &'a mut W,
    program: &'a mut Program,
    search: &'a mut Search,
    errors: Vec<StartError>,
    /// Nothing may be mapped.
    no_load: bool,
    /// The last failure, as C has it in `errno`: musl's messages end in it, even if it is an old one.
    failure: LoadError,
}

/// No file was opened: try elsewhere, or give up.
enum NotFound {
    GoOn,
    Stop,
}

impl<'a, W: World> Discovery<'a, W> {
    /// Discovery of what `program`, whose first object is the program itself, needs.
    pub fn new(world: &'a mut W, program: &'a mut Program, search: &'a mut Search) -> Self {
        Self { world, program, search, errors: Vec::new(), no_load: false, failure: LoadError::Unknown }
    }

    /// Finds everything that a program needs to start. Returns what could not be loaded.
    #[inline(never)]
    pub fn start(mut self, preload: Option<&CStr>) -> Vec<StartError> {
        for name in search::preloads(preload) {
            if let Ok(name) = CString::new(name)
                && self.load(&name, None).is_none()
            {
                log::warn!("preloaded library {} cannot be loaded: {}", Text::from(&name), self.failure);
            }
        }
        // Preloaded objects count as the program's first dependencies.
        let preloaded: Vec<ObjectId> = self.program.visible().skip(1).map(|(id, _)| id).collect();
        self.program[ObjectId::PROGRAM].dependencies = preloaded;
        let mut next = ObjectId::PROGRAM;
        while next.index() < self.program.objects().len() {
            self.load_dependencies(next);
            next = ObjectId(next.0 + 1);
        }
        self.errors
    }

    /// Finds one more object, and what it needs, for a program that is running; `no_load` if it must be there already.
    /// Returns what could not be loaded of what it needs.
    ///
    /// # Errors
    /// Why the object itself cannot be loaded.
    pub fn open(mut self, name: &CStr, no_load: bool) -> Result<(ObjectId, Vec<StartError>), LoadError> {
        self.no_load = no_load;
        let mut next = ObjectId(self.program.objects().len() as u32);
        let opened = self.load(name, Some(ObjectId::PROGRAM)).ok_or(self.failure)?;
        while next.index() < self.program.objects().len() && self.errors.is_empty() {
            self.load_dependencies(next);
            next = ObjectId(next.0 + 1);
        }
        Ok((opened, self.errors))
    }

    /// Loads what one object needs.
    fn load_dependencies(&mut self, id: ObjectId) {
        if matches!(self.program[id].origin, Origin::Libc | Origin::Loader) {
            return;
        }
        for index in 0..self.program[id].dynamic.needed.len() {
            let object = &self.program[id];
            let offset = object.dynamic.needed[index];
            let Some(name) = object.symbols.string(offset) else {
                self.errors.push(StartError::NamelessLibrary { needed_by: object.name.clone().into() });
                continue;
            };
            match self.load(name, Some(id)) {
                Some(dependency) => self.program[id].dependencies.push(dependency),
                None => self.errors.push(StartError::Library {
                    name: name.into(),
                    cause: self.failure,
                    needed_by: self.program[id].name.clone().into(),
                }),
            }
        }
    }

    /// Finds and loads one library (`load_library`). On failure, `self.failure` says why.
    fn load(&mut self, name: &CStr, needed_by: Option<ObjectId>) -> Option<ObjectId> {
        if name.is_empty() {
            self.failure = Errno::INVAL.into();
            return None;
        }
        if search::is_libc(name.to_bytes()) {
            return self.load_libc(name, true);
        }
        if name == self.search.libc_path.as_c_str() || name == self.search.wishes.interpreter {
            return self.load_libc(name, false);
        }
        let searched = !name.to_bytes().contains(&b'/');
        let (file, path) = if searched {
            let known = |&id: &ObjectId| self.program.notes(id).short_name.as_deref() == Some(name);
            if let Some(id) = self.program.ids().skip(1).find(known) {
                return Some(id);
            }
            self.search(name, needed_by)?
        } else {
            log::debug!("{}: opening it as it is", Text::from(name));
            (self.remember(|world| world.open(name))?, CString::from(name))
        };
        let (identity, size) = self.remember(|world| world.identity(&file))?;
        let same = |(_, object): &(ObjectId, &Object)| object.identity == Some(identity);
        let known = self.program.iter().skip(1).find(same).map(|(id, _)| id);
        if let Some(id) = known {
            if searched && self.program.notes(id).short_name.is_none() {
                self.name_shortly(id);
            }
            return Some(id);
        }
        if self.no_load {
            return None;
        }
        let mut object = match self.world.load(file, identity, size, path, Origin::File) {
            Ok(object) => object,
            Err(error) => {
                self.failure = error;
                return None;
            }
        };
        if crate::bind::is_a_libc(&object) {
            log::debug!("{} is a C library: using {}", Text::from(name), Text::from(&self.search.libc_path));
            self.world.unload(object);
            return self.load_libc(c"libc.so", true);
        }
        object.needed_by = needed_by;
        self.world.announce(name, &object.name, object.mapping.pages.start);
        let id = self.program.add(object);
        if searched {
            self.name_shortly(id);
        }
        Some(id)
    }

    /// From now on the object is found by its file name.
    fn name_shortly(&mut self, id: ObjectId) {
        let name = CString::new(search::file_name(&self.program[id].name)).ok();
        self.program.notes_mut(id).short_name = name.map(Cow::Owned);
    }

    /// libc enters the program at the moment when it is first named: its position matters for symbol lookup.
    fn load_libc(&mut self, name: &CStr, announce: bool) -> Option<ObjectId> {
        if let Some(host) = self.search.host.take() {
            self.program.add(host.loader);
            self.program.add(host.libc);
        }
        let Some(libc) = self.program.libc() else {
            self.failure = Errno::NOENT.into();
            return None;
        };
        let stem = name.to_bytes().split(|&byte| byte == b'.').next().unwrap_or_default();
        if announce && !self.search.announced.iter().any(|known| known.to_bytes() == stem) {
            self.search.announced.extend(CString::new(stem).ok());
            self.world.announce(name, &self.search.libc_path, self.program[libc].mapping.pages.start);
        }
        Some(libc)
    }

    /// Looks through all directories: the library path, the run-time paths of who needs it and of who needs that, the
    /// system path.
    fn search(&mut self, name: &CStr, needed_by: Option<ObjectId>) -> Option<(W::File, CString)> {
        if name.to_bytes().len() > search::LONGEST_NAME {
            return None;
        }
        let mut outcome = Err(NotFound::GoOn);
        if let Some(list) = self.search.wishes.library_path {
            outcome = self.try_list(list.to_bytes(), name);
        }
        let mut needer = needed_by;
        while let (Err(NotFound::GoOn), Some(id)) = (&outcome, needer) {
            outcome = self.read_search_path(id);
            if let SearchPath::List(list) = &self.program.notes(id).path {
                let list = list.clone();
                outcome = self.try_list(&list, name);
            }
            needer = self.program[id].needed_by;
        }
        if let Err(NotFound::GoOn) = outcome {
            let list = self.system_path();
            outcome = self.try_list(&list, name);
        }
        outcome.ok()
    }

    /// Tries the directories of one list.
    fn try_list(&mut self, list: &[u8], name: &CStr) -> Result<(W::File, CString), NotFound> {
        for path in search::candidates(list, name) {
            match self.world.open(&path) {
                Ok(file) => {
                    log::debug!("{}: found {}", Text::from(name), Text::from(&path));
                    return Ok((file, path));
                }
                Err(errno) => {
                    log::debug!("{}: tried {}", Text::from(name), Text::from(&path));
                    self.failure = errno.into();
                    if !matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NAMETOOLONG) {
                        return Err(NotFound::Stop);
                    }
                }
            }
        }
        Err(NotFound::GoOn)
    }

    /// Makes an object's run-time search path usable when it is first needed (`fixup_rpath`).
    fn read_search_path(&mut self, id: ObjectId) -> Result<(W::File, CString), NotFound> {
        let object = &self.program[id];
        if !matches!(self.program.notes(id).path, SearchPath::Unread) {
            return Err(NotFound::GoOn);
        }
        let raw = object.dynamic.search_path.and_then(|offset| object.symbols.string(offset));
        let raw = raw.map(CStr::to_bytes);
        let path = match raw.map(|raw| (raw, search::mentions_origin(raw))) {
            None | Some((_, None)) => SearchPath::None,
            Some((raw, Some(false))) => SearchPath::List(raw.to_vec()),
            Some((raw, Some(true))) => match self.origin(id) {
                Ok(Some(origin)) => SearchPath::List(search::expand_origin(raw, &origin)),
                Ok(None) => SearchPath::None,
                Err(errno) => {
                    self.failure = errno.into();
                    return Err(NotFound::Stop);
                }
            },
        };
        self.program.notes_mut(id).path = path;
        Err(NotFound::GoOn)
    }

    /// The directory that `$ORIGIN` stands for, if it may be used.
    fn origin(&mut self, id: ObjectId) -> Result<Option<Vec<u8>>, Errno> {
        let object = &self.program[id];
        let origin = if object.origin == Origin::Kernel {
            // Whoever starts a privileged program controls its path.
            if self.search.wishes.secure {
                return Ok(None);
            }
            let mut buffer = [0; search::CANDIDATE_BUFFER];
            match self.world.executable(&mut buffer) {
                Ok(path) if path.len() >= search::CANDIDATE_BUFFER => return Ok(None),
                Ok(path) => search::directory_of(path).to_vec(),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        } else {
            search::directory_of(object.name.to_bytes()).to_vec()
        };
        let absolute = origin.first().is_none_or(|&byte| byte == b'/');
        Ok(Some(origin).filter(|_| absolute || !self.search.wishes.secure))
    }

    /// The directories in which a library is searched for that an object needs, in order.
    pub fn directories(mut self, id: ObjectId) -> Vec<Vec<u8>> {
        let mut lists: Vec<Vec<u8>> = Vec::new();
        lists.extend(self.search.wishes.library_path.map(|path| path.to_bytes().to_vec()));
        let mut needer = Some(id);
        while let Some(id) = needer {
            let _ = self.read_search_path(id);
            if let SearchPath::List(list) = &self.program.notes(id).path {
                lists.push(list.clone());
            }
            needer = self.program[id].needed_by;
        }
        lists.push(self.system_path().into_owned());
        lists.iter().flat_map(|list| search::elements(list)).map(<[u8]>::to_vec).collect()
    }

    /// The system path, read once: from the path file near the interpreter, else from the one near libc, which is where musl
    /// would look if it were the interpreter.
    fn system_path(&mut self) -> Cow<'static, [u8]> {
        if let Some(path) = &self.search.system_path {
            return path.clone();
        }
        let near_interpreter = search::system_path_file(self.search.wishes.interpreter.to_bytes());
        let near_libc = search::system_path_file(self.search.libc_path.to_bytes());
        let opened = match self.world.open(&near_interpreter) {
            Err(Errno::NOENT) if near_libc != near_interpreter => self.world.open(&near_libc),
            opened => opened,
        };
        let path = match opened.and_then(|file| self.world.contents(file)) {
            Ok(contents) => {
                let end = contents.iter().position(|&byte| byte == 0).unwrap_or(contents.len());
                Cow::Owned(contents[..end].to_vec())
            }
            Err(errno) => {
                self.failure = errno.into();
                Cow::Borrowed(if errno == Errno::NOENT { search::DEFAULT_SYSTEM_PATH } else { b"" })
            }
        };
        self.search.system_path.insert(path).clone()
    }

    /// Does something that can fail, and remembers the failure.
    fn remember<T>(&mut self, work: impl FnOnce(&mut W) -> Result<T, Errno>) -> Option<T> {
        work(self.world).inspect_err(|&errno| self.failure = errno.into()).ok()
    }
}
