//! Which libc to host.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;

use crate::bind;
use crate::discover::World;
use crate::elf::{Anatomy, ElfError, Vaddr};
use crate::error::{LoadError, StartError};
use crate::program::{Object, Origin};
use crate::sys::{Errno, Text, errno_text};

/// Where musl's libc is on the systems that have one, in the order in which they are tried. When ld-morsel itself is
/// installed as `/lib/ld-musl-x86_64.so.1`, the original belongs into one of the other places. Each ends with a zero byte; it is
/// one string, as this is read before the loader is relocated (see `start::leave`).
const USUAL_PLACES: &[u8] = b"/lib/ld-musl-x86_64.so.1\0\
    /usr/lib/ld-morsel/libc.so\0\
    /lib/libc.musl-x86_64.so.1\0\
    /lib/x86_64-linux-musl/libc.so\0\
    /usr/lib/x86_64-linux-musl/libc.so\0\
    /usr/lib/musl/lib/libc.so\0\
    /usr/local/musl/lib/libc.so\0";

/// The usual places, one after the other.
pub fn usual_places<'a>() -> impl Iterator<Item = &'a CStr> {
    let places = USUAL_PLACES.split_inclusive(|&byte| byte == 0);
    places.filter_map(|place| CStr::from_bytes_with_nul(place).ok())
}

/// Finds and maps libc: the one that the user names, else the one that is fused with this loader, else the program's own
/// interpreter if that is a musl, else the first musl in the usual places. It is never searched for in library paths.
/// `own_name` is where we know ourselves to be. `None` if there is none at all.
///
/// # Errors
/// The libc that the user names, or the fused one, cannot be used.
#[inline(never)]
pub fn libc<W: World>(
    world: &mut W,
    chosen: Option<&CStr>,
    fused: impl FnOnce() -> Option<Result<Box<Object>, ElfError>>,
    interpreter: Option<&CStr>,
    own_name: Option<&CStr>,
) -> Result<Option<Box<Object>>, StartError> {
    if let Some(path) = chosen {
        return match try_path(world, path) {
            Ok(libc) => Ok(Some(libc)),
            Err(refusal) => Err(StartError::Libc { path: path.into(), cause: refusal.cause }),
        };
    }
    if let Some(libc) = fused() {
        return host_fused(libc).map(Some);
    }
    let candidates = interpreter.into_iter().chain(usual_places());
    for path in candidates.filter(|path| Some(*path) != own_name) {
        match try_path(world, path) {
            Ok(libc) => return Ok(Some(libc)),
            Err(Refusal { cause, exhausted: true }) => {
                return Err(StartError::Libc { path: path.into(), cause });
            }
            Err(Refusal { cause, .. }) => log::debug!("libc: {}: {cause}", Text::from(path)),
        }
    }
    Ok(None)
}

/// Makes the libc that is fused with this loader the one to host.
///
/// # Errors
/// It cannot be used.
pub fn host_fused(libc: Result<Box<Object>, ElfError>) -> Result<Box<Object>, StartError> {
    let mut libc = libc.map_err(|cause| StartError::Program { name: c"libc.so".into(), cause })?;
    match become_libc(&mut libc) {
        true => Ok(libc),
        false => Err(StartError::Libc { path: libc.name.into(), cause: NOT_MUSL }),
    }
}

const NOT_MUSL: &str = "not musl's libc";

/// Why a path is not the libc to host.
struct Refusal {
    cause: &'static str,
    /// It says nothing of the file: the process may not open or map any more. There is no use in looking further.
    exhausted: bool,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        let exhausted = matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM);
        Self { cause: errno_text(errno), exhausted }
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::System(errno) => errno.into(),
            _ => Self { cause: "not a shared object for this machine", exhausted: false },
        }
    }
}

/// Maps `path` if it is musl's libc. This loader is not (it has a `__libc_start_main`, but no `stdin`), whatever it is
/// called.
fn try_path<W: World>(world: &mut W, path: &CStr) -> Result<Box<Object>, Refusal> {
    let file = world.open(path)?;
    let (identity, size) = world.identity(&file)?;
    let mut object = world.load(file, identity, size, CString::from(path), Origin::Libc)?;
    if !become_libc(&mut object) {
        world.unload(object);
        return Err(Refusal { cause: NOT_MUSL, exhausted: false });
    }
    log::info!("libc is {}", Text::from(path));
    Ok(object)
}

/// Makes an object the libc to host, if it is a musl.
fn become_libc(object: &mut Object) -> bool {
    let Some(entry) = entry_of_musl(object, object.mapping.bias.unapply(object.entry)) else { return false };
    (object.origin, object.entry) = (Origin::Libc, object.address(entry));
    true
}

/// Where a libc begins, if it is a musl: that is a symbol of its own, as the ELF entry of a fused file is a loader's. Those without
/// are known by what they are for, and begin at their `elf_entry`.
pub fn entry_of_musl(libc: &Anatomy<'_>, elf_entry: Vaddr) -> Option<Vaddr> {
    let entry = match bind::definition_in(libc, b"_dlstart") {
        Some(entry) => entry.vaddr(),
        None if bind::is_a_libc(libc) => elf_entry,
        None => return None,
    };
    (libc.dynamic.verdef.is_none() && libc.segments.is_code(entry)).then_some(entry)
}
