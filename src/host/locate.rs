//! Which libc to host.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;

use crate::bind;
use crate::discover::World;
use crate::error::StartError;
use crate::program::{Object, Origin};
use crate::sys::Text;

/// Where musl's libc is on the systems that have one, in the order in which they are tried. When ld-morsel itself is
/// installed as `/lib/ld-musl-x86_64.so.1`, the original belongs into one of the other places.
pub const USUAL_PLACES: [&CStr; 7] = [
    c"/lib/ld-musl-x86_64.so.1",
    c"/usr/lib/ld-morsel/libc.so",
    c"/lib/libc.musl-x86_64.so.1",
    c"/lib/x86_64-linux-musl/libc.so",
    c"/usr/lib/x86_64-linux-musl/libc.so",
    c"/usr/lib/musl/lib/libc.so",
    c"/usr/local/musl/lib/libc.so",
];

/// Finds and maps libc: the one that the user names, else the program's own interpreter if that is a musl, else the
/// first musl in the usual places. It is never searched for in library paths. `own_name` is where we know ourselves to be.
/// `None` if there is none at all.
///
/// # Errors
/// The libc that the user names cannot be used.
#[inline(never)]
pub fn libc<W: World>(
    world: &mut W,
    chosen: Option<&CStr>,
    interpreter: Option<&CStr>,
    own_name: Option<&CStr>,
) -> Result<Option<Box<Object>>, StartError> {
    if let Some(path) = chosen {
        return match try_path(world, path) {
            Ok(libc) => Ok(Some(libc)),
            Err(cause) => Err(StartError::Libc { path: path.into(), cause }),
        };
    }
    let candidates = interpreter.into_iter().chain(USUAL_PLACES);
    for path in candidates.filter(|path| Some(*path) != own_name) {
        match try_path(world, path) {
            Ok(libc) => return Ok(Some(libc)),
            Err(cause) => log::debug!("libc: {} {cause}", Text::from(path)),
        }
    }
    Ok(None)
}

/// Maps `path` if it is musl's libc. This loader is not (it has no `__libc_start_main`), whatever it is called.
fn try_path<W: World>(world: &mut W, path: &CStr) -> Result<Box<Object>, &'static str> {
    let file = world.open(path).map_err(|_| "cannot be opened")?;
    let (identity, size) = world.identity(&file).map_err(|_| "cannot be examined")?;
    let loaded = world.load(file, identity, size, CString::from(path));
    let mut object = loaded.map_err(|_| "is not a shared object for this machine")?;
    if !bind::is_a_libc(&object) || object.dynamic.verdef.is_some() || !object.is_code(object.entry) {
        world.unload(object);
        return Err("is not musl's libc");
    }
    object.origin = Origin::Libc;
    log::info!("libc is {}", Text::from(path));
    Ok(object)
}
