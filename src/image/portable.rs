//! Portable images know their inputs by contents. Whether the files are those is found out once on each machine, by reading
//! all of them ([`examine`]), and then written down in the image's [`stamp`]; [`confirm`] is what a start does.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt::Write;

use sha2::{Digest as _, Sha256};

use crate::sys::{self, Errno, File, FileIdentity, FileStamp, Scratch};

use super::attach::Circumstances;
use super::check::{self, Refusal};
use super::format::{Input, List, Member, ProgramEntry, Tables};
use super::stamp::{self, Digest, Stamped};

/// A change that comes so many nanoseconds after another may leave no trace in a file's times: clocks of file systems tick.
pub const TICK: u64 = 20_000_000;
/// The same where times have whole seconds.
const COARSE_TICK: u64 = 2_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// How much of a file is read at once, in words.
const PIECE: usize = 64 << 10;

/// In the place of a program's file in the header of a portable image: no device has that number.
pub fn identity(fingerprint: u64) -> FileIdentity {
    FileIdentity { device: u64::MAX, inode: fingerprint }
}

/// How long after a change of a file, in nanoseconds, its stamp can be relied upon.
pub fn settling_time(stamp: &FileStamp) -> u64 {
    if stamp.changed.is_multiple_of(SECOND) { COARSE_TICK } else { TICK }
}

/// The digest of a file's contents, read through `buffer`.
///
/// # Errors
/// What the system says.
pub fn digest(file: &File, buffer: &mut Scratch) -> Result<Digest, Errno> {
    let mut hash = Sha256::new();
    let mut offset = 0;
    loop {
        let buffer = buffer.bytes();
        let read = file.read_at(buffer, offset)?;
        hash.update(&buffer[..read]);
        offset += read as u64;
        if read < buffer.len() {
            return Ok(hash.finalize().into());
        }
    }
}

/// What [`digest`] reads through.
///
/// # Errors
/// There is no memory.
pub fn buffer() -> Result<Scratch, Errno> {
    Scratch::new(PIECE)
}

/// Reads the program and all inputs that must be there. `now` is the time in nanoseconds, by the clock of a file system.
///
/// # Errors
/// One cannot be read, has another size, or cannot be relied upon yet.
pub fn examine(tables: &Tables<'_>, program: &CStr, now: u64) -> Result<Vec<Stamped>, Refusal> {
    let mut buffer = buffer().map_err(|errno| Refusal::System("mmap", errno))?;
    let paths = [program].into_iter().chain(existing(&tables.inputs).map(|(path, _)| path));
    let stamps = [tables.key.program].into_iter().chain(existing(&tables.inputs).map(|(_, stamp)| stamp));
    let built: Vec<FileStamp> = stamps.collect();
    let mut files: Vec<Stamped> = Vec::with_capacity(built.len());
    for ((path, built_of), expected) in paths.zip(&built).zip(&tables.digests) {
        let shown = || CString::from(if files.is_empty() { tables.program_path() } else { path });
        let changed = || Refusal::Changed(shown());
        let file = sys::open(path).map_err(|_| changed())?;
        let status = || file.full_status().map_err(|_| changed()).map(|status| status.stamp);
        let stamp = status()?;
        if stamp.size != built_of.size {
            return Err(changed());
        }
        if stamp.changed.saturating_add(settling_time(&stamp)) > now {
            return Err(Refusal::Unsettled(shown()));
        }
        let known = files.iter().zip(&tables.digests).find(|(file, _)| file.stamp == stamp);
        let genuine = match known {
            Some((file, digest)) => file.genuine && digest == expected,
            None => digest(&file, &mut buffer).is_ok_and(|digest| digest == expected),
        };
        if status()? != stamp {
            return Err(changed());
        }
        // Several names of one file, and files of their own with the same contents, are not the same to a search.
        let first_with = |same: &dyn Fn(usize) -> bool| (0..files.len()).find(|&index| same(index));
        let before = first_with(&|index| built[index].identity == built_of.identity);
        let after = first_with(&|index| files[index].stamp.identity == stamp.identity);
        files.push(Stamped { stamp, genuine: genuine && before == after });
    }
    Ok(files)
}

/// Makes sure that the inputs are what the image has been built of, by its stamp if that holds, else by reading them and making a
/// stamp. The tables tell of the files that are here from then on.
///
/// # Errors
/// They are not, or it cannot be found out.
#[cold]
pub fn confirm(
    tables: &mut Tables<'_>,
    image: &CStr,
    entry: &ProgramEntry,
    circumstances: &Circumstances<'_>,
) -> Result<(), Refusal> {
    let secure = circumstances.config.secure;
    let path = stamp::path_of(image).ok_or(Refusal::Damaged("no path"))?;
    match recorded(&path, entry, circumstances.user, secure) {
        Ok(files) if files.first().is_some_and(|program| program.stamp == circumstances.file) => {
            match adopt(tables, &files) {
                // Other files than those that were read.
                Err(Refusal::Stale(_)) => {}
                adopted => return adopted,
            }
        }
        Ok(_) => {}
        Err(refusal) => log::debug!("{}: {refusal}", sys::Text::from(&path)),
    }
    check::inputs(tables.inputs.iter().filter(|input| input.stamp.is_none()))?;
    if secure {
        return Err(Refusal::Unstamped(path, Errno::PERM));
    }
    let pending = PendingStamp::create(&path).map_err(|errno| Refusal::Unstamped(path.clone(), errno))?;
    log::info!("reading the inputs of image {}", sys::Text::from(image));
    let files = examine(tables, c"/proc/self/exe", pending.now)?;
    if files.first().is_none_or(|program| program.stamp != circumstances.file) {
        return Err(Refusal::Key("the program's file"));
    }
    let written = pending.commit(&stamp::to_bytes(entry.checksum, &files), &path);
    written.map_err(|errno| Refusal::Unstamped(path, errno))?;
    adopt(tables, &files)
}

/// What the stamp at `path` says about the program and the inputs.
///
/// # Errors
/// There is none that counts.
pub fn recorded(path: &CStr, entry: &ProgramEntry, user: u32, secure: bool) -> Result<Vec<Stamped>, Refusal> {
    let file = sys::open(path).map_err(|errno| Refusal::System("open", errno))?;
    let status = file.full_status().map_err(|errno| Refusal::System("fstat", errno))?;
    check::owner(&status, "it", user, secure)?;
    let size = usize::try_from(status.stamp.size).ok().filter(|&size| size <= stamp::LARGEST);
    let mut bytes = alloc::vec![0; size.ok_or(Refusal::Damaged("too large"))?];
    let read = file.read_at(&mut bytes, 0).map_err(|errno| Refusal::System("read", errno))?;
    stamp::parse(&bytes[..read], entry.checksum).ok_or(Refusal::Damaged("no stamp of this image"))
}

/// Puts the files that are here into the place of those that the image has been built of.
///
/// # Errors
/// [`Refusal::Stale`]: one is not here any more. Else why the image may not be used.
pub fn adopt(tables: &mut Tables<'_>, files: &[Stamped]) -> Result<(), Refusal> {
    let (program, rest) = files.split_first().ok_or(Refusal::Damaged("an empty stamp"))?;
    if files.len() != tables.digests.len() {
        return Err(Refusal::Damaged("a stamp of other files"));
    }
    let mut inputs: Vec<Input<'_>> = tables.inputs.iter().collect();
    let present = inputs.iter_mut().filter_map(|input| input.stamp.as_mut());
    present.zip(rest).for_each(|(stamp, file)| *stamp = file.stamp);
    check::inputs(inputs.iter().copied()).map_err(|refusal| match refusal {
        Refusal::Changed(path) => Refusal::Stale(path),
        other => other,
    })?;
    let wrong = existing(&tables.inputs).zip(rest).find(|(_, file)| !file.genuine);
    if let Some(((path, _), _)) = wrong {
        return Err(Refusal::Changed(CString::from(path)));
    }
    if !program.genuine {
        return Err(Refusal::Key("the program's file"));
    }
    let mut members: Vec<Member<'_>> = tables.members.iter().collect();
    for member in &mut members {
        let Some(identity) = &mut member.identity else { continue };
        let moved = existing(&tables.inputs).zip(rest).find(|((_, built), _)| built.identity == *identity);
        *identity = moved.ok_or(Refusal::Damaged("a member that is no input"))?.1.stamp.identity;
    }
    // They are wanted as long as the image.
    tables.inputs = List::Values(inputs.leak());
    tables.members = List::Values(members.leak());
    tables.key.program = program.stamp;
    Ok(())
}

fn existing<'a>(inputs: &List<'a, Input<'a>>) -> impl Iterator<Item = (&'a CStr, FileStamp)> {
    inputs.iter().filter_map(|input| Some((input.path, input.stamp?)))
}

/// A stamp that has no name of its own yet. Dropped before it has one, it disappears.
pub struct PendingStamp {
    temporary: CString,
    file: File,
    /// The time of the file system, in nanoseconds.
    pub now: u64,
}

impl PendingStamp {
    /// To become `path`. It is made before anything is read, since all would be in vain if it cannot be.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &CStr) -> Result<Self, Errno> {
        let path = path.to_bytes();
        let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let mut number = String::new();
        // Writing to a string cannot fail.
        let _ = write!(number, ".{}", sys::process_id());
        let temporary = [&path[..name], b".", &path[name..], number.as_bytes()].concat();
        let temporary = CString::new(temporary).map_err(|_| Errno::INVAL)?;
        // What an interrupted start with the same process id left.
        let _ = sys::remove_file(&temporary);
        let file = sys::create_file(&temporary, 0o644)?;
        let now = file.full_status()?.stamp.changed;
        Ok(Self { temporary, file, now })
    }

    /// Writes it and gives it its name, in place of what has that name now.
    ///
    /// # Errors
    /// What the system says.
    pub fn commit(self, bytes: &[u8], path: &CStr) -> Result<(), Errno> {
        sys::write_all(sys::AsFd::as_fd(&self.file), bytes)?;
        sys::rename(&self.temporary, path)
    }
}

impl Drop for PendingStamp {
    fn drop(&mut self) {
        // After a commit there is nothing of that name.
        let _ = sys::remove_file(&self.temporary);
    }
}
