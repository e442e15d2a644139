//! Taking an image into the process: find it, check it, map its window, and describe its members as if they had just been
//! loaded one by one.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::Range;

use crate::bind::Definition;
use crate::config::{Config, ImageChoice};
use crate::discover::search;
use crate::elf::{ElfError, LoadBias, PAGE_SIZE, Symbol, SymbolName, Vaddr, page_up};
use crate::program::{InitOrder, Mapping, Object, ObjectId, Origin, Program, TlsPlacement};
use crate::relocate::{Added, Late, is_copy};
use crate::statistics::UsedImage;
use crate::sys::{self, Errno, File, FileIdentity, FileStamp, MemoryFlags, Text};

use super::check::{self, Refusal};
use super::details::Undescribed;
use super::format::{
    Binding, BuildId, FarWindow, HEADER_AT, HEADER_ROOM, Header, Interposed, Key, Member, ProgramEntry, Role,
    Tables, VERSION, Watch,
};
use super::join::Left;
use super::mapped::{Image, Mapped, Place};
use super::{BASE_ALIGN, SYSTEM_PLACE, base_at, file_name, path_in, portable, portable_name};

/// How often another place is tried for an image whose own is taken.
const ATTEMPTS: u64 = 8;

/// Bytes that the loader needs for a member, above all for the object; the rest are its name and entries of lists.
const USUAL_MEMBER: usize = size_of::<Object>() + 256;

/// Most images serve no more programs. What is read of them fits into a page of the stack that is in use anyway.
const USUAL_PROGRAMS: u64 = 4;
const USUAL_HEADER: usize = Header::SIZE + USUAL_PROGRAMS as usize * ProgramEntry::SIZE;

/// What an image is checked against.
pub struct Circumstances<'a> {
    /// What the user wants.
    pub config: &'a Config<'static>,
    /// The program's file.
    pub file: FileStamp,
    /// The path by which the kernel has found it.
    pub called: Option<&'a CStr>,
    /// The [`fingerprint`](check::fingerprint) of the program in memory.
    pub fingerprint: u64,
    /// The loader's own build ID.
    pub loader: BuildId,
    /// The effective user.
    pub user: u32,
    /// A number that is different in every process, for its place.
    pub random: u64,
    /// Whether a debugger has started the process.
    pub debugged: &'a dyn Fn() -> bool,
}

/// An image in the process.
#[derive(Debug)]
pub struct Attached {
    /// Where it is.
    pub path: CString,
    /// Who watches the process.
    pub watch: Watch,
    pub(super) tables: Box<Tables<'static>>,
    pub(super) place: Place,
    pub(super) windows: &'static [Range<u64>],
    /// Its file, if the process preloads other libraries than the image has been built for.
    pub(super) file: Option<File>,
    /// Which objects of the process the members are.
    pub(super) ids: Vec<ObjectId>,
    /// Which of them have thread-local storage, and where the image has been relocated for it to be.
    pub(super) tls: Vec<(ObjectId, TlsPlacement)>,
    /// What the process has beside them.
    pub added: Added,
}

/// What has been mapped.
struct Found {
    tables: Box<Tables<'static>>,
    extended: bool,
    windows: &'static [Range<u64>],
    watch: Watch,
}

/// An image file, open and not yet looked at.
pub struct Candidate {
    path: CString,
    file: File,
    /// Whether the user wants no start without it.
    required: bool,
}

/// The program's image file; `None` if there is none. Few programs have one, and nothing is computed for the others.
///
/// # Errors
/// An image is required, and there is none.
#[inline(never)]
pub fn open(choice: ImageChoice<'_>, program: FileIdentity) -> Result<Option<Candidate>, (CString, Refusal)> {
    let ImageChoice::Use { place, portable, required } = choice else { return Ok(None) };
    let place = place.unwrap_or(SYSTEM_PLACE);
    let path = match place.to_bytes() {
        _ if portable => portable_path_in(place.to_bytes()),
        directory if place == SYSTEM_PLACE || directory.ends_with(b"/") => {
            path_in(directory, file_name(program).as_bytes())
        }
        _ => Some(CString::from(place)),
    };
    let Some(path) = path else { return Ok(None) };
    match sys::open(&path) {
        Ok(file) => Ok(Some(Candidate { path, file, required })),
        Err(Errno::NOENT) if !required => Ok(None),
        Err(errno) => refuse(path, required, Refusal::System("open", errno)),
    }
}

/// Where the program's portable image is in a directory.
#[cold]
fn portable_path_in(directory: &[u8]) -> Option<CString> {
    let mut buffer = [0; search::CANDIDATE_BUFFER];
    let program = sys::read_link(c"/proc/self/exe", &mut buffer).ok()?;
    path_in(directory, &portable_name(program))
}

/// Whoever requires an image gets the reason why there is none.
fn refuse<T>(path: CString, required: bool, refusal: Refusal) -> Result<Option<T>, (CString, Refusal)> {
    if required {
        return Err((path, refusal));
    }
    log::info!("image {} is not used: {refusal}", Text::from(&path));
    Ok(None)
}

impl Candidate {
    /// Does without, or tells whoever requires it why it cannot be used.
    ///
    /// # Errors
    /// It is required.
    pub fn refuse(self, refusal: Refusal) -> Result<Option<Attached>, (CString, Refusal)> {
        refuse(self.path, self.required, refusal)
    }

    /// The image, mapped and ready; `None` if it may not be used.
    ///
    /// # Errors
    /// It is required, and may not be used.
    #[inline(never)]
    pub fn attach(self, circumstances: &Circumstances<'_>) -> Result<Option<Attached>, (CString, Refusal)> {
        match try_attach(&self.path, &self.file, circumstances) {
            Ok((Found { tables, extended, windows, watch }, place)) => {
                log::info!("image {} at {:#x}", Text::from(&self.path), place.start);
                let (path, ids, tls, added) = (self.path, Vec::new(), Vec::new(), Added::default());
                let file = extended.then_some(self.file);
                Ok(Some(Attached { path, watch, tables, place, windows, file, ids, tls, added }))
            }
            Err(refusal) => self.refuse(refusal),
        }
    }
}

fn try_attach(
    path: &CStr,
    file: &File,
    circumstances: &Circumstances<'_>,
) -> Result<(Found, Place), Refusal> {
    let config = circumstances.config;
    let status = file.full_status().map_err(|errno| Refusal::System("fstat", errno))?;
    let directory = check::directory_of(path).ok_or(Refusal::Damaged("no path"))?;
    let directory = sys::file_status(&directory).map_err(|errno| Refusal::System("its directory", errno))?;
    check::ownership(&status, &directory, circumstances.user, config.secure)?;
    let mut bytes = [0; USUAL_HEADER];
    let mut bytes = read_header(file, &mut bytes)?;
    let header = Header::parse(bytes).ok_or(Refusal::Damaged("not an image"))?;
    if header.version != VERSION {
        return Err(Refusal::Version(header.version));
    }
    if header.loader != circumstances.loader {
        return Err(Refusal::OtherLoader);
    }
    let all;
    if header.programs > USUAL_PROGRAMS {
        let mut room = vec![0; HEADER_ROOM];
        let read = read_header(file, &mut room)?.len();
        all = room;
        bytes = &all[..read];
    }
    let mut entries = header.entries(bytes).ok_or(Refusal::Damaged("its header"))?;
    let own = [circumstances.file.identity, portable::identity(circumstances.fingerprint)];
    let entry = entries.find(|entry| own.contains(&entry.program));
    let entry = entry.ok_or(Refusal::OtherProgram)?;
    let size = status.stamp.size;
    let whole = header.window <= page_up(size)
        && header.window % PAGE_SIZE == 0
        && entry.tables % PAGE_SIZE == 0
        && header.base % BASE_ALIGN == 0
        && entry.tables.checked_add(entry.size).is_some_and(|end| end <= size && end <= header.window);
    if !whole {
        return Err(Refusal::Damaged("it is cut off"));
    }
    let random = |attempt| base_at(circumstances.random.wrapping_mul(0x9e37_79b9_7f4a_7c15 + 2 * attempt));
    let own = Some(header.base).filter(|_| !config.random_image);
    for start in own.into_iter().chain((1..=ATTEMPTS).map(random)) {
        let place = Place { start, delta: start.wrapping_sub(header.base) };
        let image = Image { file, size, window: header.window, entry };
        match attach_at(path, &image, place, header.watch, circumstances) {
            Err(Refusal::Taken) => {}
            attached => return Ok((attached?, place)),
        }
    }
    Err(Refusal::Taken)
}

/// The first bytes of the image's own header, as many as there are and `bytes` has room for.
fn read_header<'a>(file: &File, bytes: &'a mut [u8]) -> Result<&'a [u8], Refusal> {
    let read = file.read_at(bytes, HEADER_AT as u64).map_err(|errno| Refusal::System("read", errno))?;
    Ok(&bytes[..read])
}

/// Checks the image, and maps it there if it may be used.
fn attach_at(
    path: &CStr,
    image: &Image<'_>,
    place: Place,
    watch: Watch,
    circumstances: &Circumstances<'_>,
) -> Result<Found, Refusal> {
    let mut mapped = Mapped::new(watch);
    mapped.add(image, place, &FarWindow { pages: 0..image.window, offset: 0, access: MemoryFlags::READ })?;
    let (start, size) = (place.start + image.entry.tables, image.entry.size as usize);
    // SAFETY: the tables lie in the window (checked), which stays mapped if we succeed.
    let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(start as *const u8, size) };
    let mut tables = check::outline(&image.entry, bytes)?;
    let config = circumstances.config;
    let portable = !tables.digests.is_empty();
    let now = Key {
        library_path: config.library_path,
        preload: config.preload,
        libc: config.libc,
        origin: None,
        passes: None,
        program: if portable { tables.key.program } else { circumstances.file },
        fingerprint: circumstances.fingerprint,
    };
    check::key(&tables.key, &now, config.secure)?;
    check::origin(&tables.key, circumstances.called, circumstances.file)?;
    let extended = check::preloads_others(&tables, config.preload)?;
    if tables.parts_moved && (circumstances.debugged)() {
        return Err(Refusal::Debugger);
    }
    // What usual starts read once, and see then whether it is sound, others read more often.
    if (extended || portable) && !tables.is_whole() {
        return Err(check::NO_SENSE);
    }
    match portable {
        false => {
            let mut sound = true;
            let inputs = tables.inputs.checked().inspect(|input| sound &= input.is_some());
            check::inputs(inputs.flatten())?;
            if !sound {
                return Err(check::NO_SENSE);
            }
        }
        true => portable::confirm(&mut tables, path, &image.entry, circumstances)?,
    }
    for window in &tables.windows {
        mapped.add(image, place, &window)?;
    }
    for region in &tables.regions {
        mapped.change(image.file, place, &region)?;
    }
    for pages in &tables.huge {
        mapped.advise(place, &pages)?;
    }
    mapped.watch(place, &tables)?;
    for populate in &tables.populate {
        mapped.populate(place, &populate)?;
    }
    if place.delta != 0 {
        mapped.protect(place, &tables.sealed, MemoryFlags::READ | MemoryFlags::WRITE)?;
        mapped.rebase(place, tables.rebase)?;
        mapped.protect(place, &tables.sealed, MemoryFlags::READ)?;
    }
    Ok(Found { tables, extended, windows: mapped.keep().leak(), watch })
}

impl Attached {
    /// Whether the process preloads other libraries than the image has been built for.
    pub fn is_extended(&self) -> bool {
        self.file.is_some()
    }

    /// All objects of the process; two of them are there already.
    ///
    /// # Errors
    /// What the image tells of a member makes no sense: it is not used.
    #[inline(never)]
    pub fn objects(mut self, program: Box<Object>, loader: Box<Object>) -> Result<(Self, Program), Left> {
        let count = self.tables.members.len();
        // Room for the vDSO as well.
        let mut objects = Program::with_capacity(count + 1);
        let mut own = [Some(program), Some(loader)];
        match self.fill(&mut objects, &mut own) {
            Ok(()) => Ok((self, objects)),
            Err(error) => {
                log::info!("{error}");
                let (program, loader) = self.take_apart(objects, own.into_iter().flatten(), drop);
                Err(self.leave(Refusal::Damaged("what it tells of its members"), program, loader))
            }
        }
    }

    /// Adds all members. What the start itself will ask of them is read now, when there is a way back.
    fn fill(&mut self, objects: &mut Program, own: &mut [Option<Box<Object>>; 2]) -> Result<(), ElfError> {
        let [program, loader] = own;
        let count = self.tables.members.len();
        self.ids.reserve_exact(count);
        sys::provide_memory(count * USUAL_MEMBER);
        for member in self.tables.members.checked() {
            let member = member.filter(|member| member.knows_only(count));
            let member = member.ok_or(ElfError::BadTable("an image's object"))?;
            let object = match member.role {
                Role::Program => program.take(),
                Role::Loader => loader.take(),
                Role::Library | Role::Libc => Some(self.object(&member)),
            };
            let mut object = object.ok_or(ElfError::BadTable("an image's object is there twice"))?;
            object.idle_constructors = member.idle_constructors;
            object.idle_destructors = member.idle_destructors;
            if member.is_used_by_start() {
                object.describe()?;
            }
            object.needed_by = member.needed_by.map(ObjectId);
            object.dependencies = member.dependencies.iter().map(ObjectId).collect();
            let id = objects.add(object);
            objects.notes_mut(id).short_name = member.short_name().map(Cow::Borrowed);
            self.add(id, &member);
        }
        if program.is_some() || loader.is_some() {
            return Err(ElfError::BadTable("an image without the program or the loader"));
        }
        for late in &self.tables.late {
            objects[ObjectId(late.object)].describe()?;
            if let Some(binding) = late.binding.filter(|_| is_copy(late.relocation.kind)) {
                objects[ObjectId(binding.object)].describe()?;
            }
        }
        Ok(())
    }

    /// Makes known which object the next member is.
    pub(super) fn add(&mut self, id: ObjectId, member: &Member<'_>) {
        self.ids.push(id);
        self.tls.extend(member.tls.map(|tls| (id, tls)));
    }

    /// A member, of which no more is known than every start needs.
    pub(super) fn object(&self, member: &Member<'static>) -> Box<Object> {
        let bias = LoadBias(self.place.start.wrapping_add(member.place));
        let is_libc = member.role == Role::Libc;
        let origin = if is_libc { Origin::Libc } else { Origin::File };
        let pages = bias.apply_range(&(Vaddr(member.span.start)..Vaddr(member.span.end)));
        let mapping = Mapping { bias, pages, backend: "image", sealed: member.sealed, shared: !is_libc };
        let source = Box::new(Undescribed {
            part: member.details.unwrap_or_default(),
            windows: self.windows,
            as_built: self.place.delta == 0 && !self.is_extended(),
        });
        let mut object = Object::undescribed(member.name.into(), origin, mapping, member.summary, source);
        object.identity = member.identity;
        object.program_headers =
            member.headers.map(|(vaddr, count)| (bias.apply(Vaddr(vaddr)), count as u16));
        object.entry = bias.apply(Vaddr(member.entry));
        object.linked_dynamic = member.linked_dynamic.map(Vaddr);
        object.code_shift = member.code_shift;
        object
    }

    /// The program's file.
    pub fn program(&self) -> FileStamp {
        self.tables.key.program
    }

    /// The order in which objects get their thread-local storage: the members first, whose places are known.
    pub fn tls_order(&self) -> impl Iterator<Item = ObjectId> + use<> {
        let members = self.ids.clone().into_iter();
        members.chain(self.added.objects.clone())
    }

    /// Whether thread-local storage is laid out as the image has been relocated for.
    pub fn has_layout_of(&self, program: &Program) -> bool {
        let laid_out = self.ids.iter().filter_map(|&id| Some((id, program[id].tls?)));
        laid_out.eq(self.tls.iter().copied())
    }

    /// What is left to be relocated.
    pub fn late<'a>(&'a self, program: &'a Program) -> impl ExactSizeIterator<Item = Late> + 'a {
        self.tables.late.iter().map(|late| Late {
            object: self.ids[late.object as usize],
            relocation: late.relocation,
            definition: late.binding.map(|binding| self.definition(&binding, program)),
        })
    }

    /// The definitions that libc must bind to instead of its own (see [`crate::host::exports`]); `None` if objects that were added
    /// may have some.
    pub fn interposed(&self, program: &Program) -> Option<Vec<(SymbolName<'static>, Definition)>> {
        let definition = |entry: Interposed<'static>| {
            (SymbolName::new(entry.name), self.definition(&entry.binding, program))
        };
        self.added.objects.is_empty().then(|| self.tables.interposed.iter().map(definition).collect())
    }

    /// The order in which the start-up objects are initialised; `None` if there are others than the image knows.
    pub fn initialisation(&self) -> Option<InitOrder> {
        let order = || self.tables.initialisation.iter().map(|member| self.ids[member as usize]).collect();
        self.added.objects.is_empty().then(order)
    }

    /// What there is to tell of it.
    pub fn statistics(&self) -> UsedImage {
        UsedImage {
            path: self.path.clone(),
            moved: self.place.delta != 0,
            late: self.tables.late.len(),
            added: self.added.objects.len(),
            rebound: self.added.rebound.len(),
        }
    }

    fn definition(&self, binding: &Binding, program: &Program) -> Definition {
        let object = self.ids[binding.object as usize];
        let symbol = Symbol::from_parts(binding.value, binding.size, binding.info, binding.section);
        Definition { object, symbol, bias: program[object].mapping.bias }
    }
}
