//! What the image of a program is looked for with, and checked against.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;

use goblin::elf64::program_header::{ProgramHeader, SIZEOF_PHDR};
use linux_raw_sys::auxvec::{AT_EUID, AT_EXECFN, AT_RANDOM};

use crate::config::{Config, ImageChoice};
use crate::discover::{Search, Wishes, search};
use crate::elf::{ElfError, Vaddr};
use crate::error::StartError;
use crate::host::OwnFile;
use crate::image::join::{Left, Start};
use crate::image::request::Request;
use crate::image::{self, Attached, Candidate, Circumstances, Refusal, SYSTEM_PLACE};
use crate::map::System;
use crate::program::{Object, Origin};
use crate::sys::{self, FileStamp, Text};

use super::InitialStack;

/// The program's image, if it has one that may be used. Only a program that the kernel has started has one.
pub fn find(
    program: &Object,
    file: Option<FileStamp>,
    own: OwnFile,
    config: &Config<'static>,
    stack: &InitialStack,
    list: bool,
    debugged: &dyn Fn() -> bool,
) -> Option<Attached> {
    let ImageChoice::Use { place, required, .. } = config.image else { return None };
    if list {
        return None;
    }
    let none = |cause| match required {
        true => missed((place.unwrap_or(SYSTEM_PLACE).into(), cause)),
        false => None,
    };
    if program.origin != Origin::Kernel {
        return none(Refusal::Key("the loader is run as a command"));
    }
    // Whoever starts a privileged program controls its path.
    let own_status = || sys::file_status(c"/proc/self/exe").ok().map(|status| status.stamp);
    let file = if config.secure { own_status() } else { file };
    let Some(file) = file else { return none(Refusal::Unknown) };
    let attached = match image::open(config.image, file.identity) {
        Ok(Some(candidate)) => attach(candidate, program, file, own, config, stack, debugged),
        Ok(None) => Ok(None),
        Err(refused) => Err(refused),
    };
    if let (Ok(None) | Err(_), Some(learner)) = (&attached, config.learn) {
        ask(learner, file, config);
    }
    attached.unwrap_or_else(|refused| missed(refused))
}

/// Checks the image and maps it.
fn attach(
    candidate: Candidate,
    program: &Object,
    file: FileStamp,
    own: OwnFile,
    config: &Config<'static>,
    stack: &InitialStack,
    debugged: &dyn Fn() -> bool,
) -> Result<Option<Attached>, (CString, Refusal)> {
    // SAFETY: the kernel has mapped our file.
    let loader = unsafe { own.build_id() };
    let (Some(loader), Some((headers, count))) = (loader, program.program_headers) else {
        return candidate.refuse(Refusal::Unknown);
    };
    let size = usize::from(count) * SIZEOF_PHDR;
    // SAFETY: the program headers are mapped with the program.
    let headers = unsafe { core::slice::from_raw_parts(headers.0 as *const u8, size) };
    let called = stack.auxiliary_value(AT_EXECFN).filter(|&called| called != 0);
    // SAFETY: the kernel's AT_EXECFN is a string.
    let called = called.map(|called| unsafe { CStr::from_ptr(called as *const _) });
    let random = stack.auxiliary_value(AT_RANDOM).filter(|&random| random != 0);
    // SAFETY: AT_RANDOM points to sixteen random bytes; libc uses the first half.
    let random = random.map_or(0, |random| unsafe { (random as *const u64).add(1).read_unaligned() });
    let circumstances = Circumstances {
        config,
        file,
        called,
        fingerprint: image::check::fingerprint(headers, |header: &ProgramHeader| {
            program.view.bytes(Vaddr(header.p_vaddr), header.p_filesz)
        }),
        loader,
        user: stack.auxiliary_value(AT_EUID).unwrap_or(u64::MAX) as u32,
        random,
        debugged,
    };
    candidate.attach(&circumstances)
}

/// Asks a learner for an image. Whether anybody listens is no concern of this start.
#[cold]
fn ask(learner: &CStr, file: FileStamp, config: &Config<'_>) {
    let mut path = [0; search::CANDIDATE_BUFFER];
    let program = sys::read_link(c"/proc/self/exe", &mut path).ok().and_then(|path| CString::new(path).ok());
    let Some(program) = program else { return };
    let Config { library_path, preload, libc, .. } = *config;
    let request = Request { program: &program, identity: file.identity, library_path, preload, libc };
    let Some(request) = request.to_bytes() else { return };
    match sys::send_datagram(learner, &request) {
        Ok(()) => log::info!("asked {} for an image", Text::from(learner)),
        Err(errno) => log::info!("{}: {}", Text::from(learner), sys::errno_text(errno)),
    }
}

/// An image that is required and cannot be had.
fn missed((path, cause): (CString, Refusal)) -> ! {
    super::fail(&[StartError::Image { path, cause }])
}

/// All objects of a process that has an image.
///
/// # Errors
/// It is not used after all: the program and the loader.
pub fn objects(
    image: Attached,
    program: Box<Object>,
    loader: Box<Object>,
    wishes: Wishes,
    config: &Config<'static>,
    system: &mut System,
) -> Result<Start, (Box<Object>, Box<Object>)> {
    let file = image.program();
    let start = match image.is_extended() {
        true => image.join(program, loader, wishes, config.preload, system),
        false => image.objects(program, loader).map(|(image, program)| {
            let libc = program.libc().map(|libc| program[libc].name.clone().into_owned());
            Start { image, search: Search::done(libc.unwrap_or_default(), wishes), program }
        }),
    };
    let Left { path, cause, program, loader } = match start {
        Ok(start) => return Ok(start),
        Err(left) => left,
    };
    if let Some(learner) = config.learn {
        ask(learner, file, config);
    }
    if let ImageChoice::Use { required: true, .. } = config.image {
        missed((path, cause));
    }
    log::info!("image {} is not used: {cause}", Text::from(&path));
    Err((program, loader))
}

/// An image that has passed all checks and yet does not fit: there is no way back.
pub fn damaged(image: &CStr, cause: ElfError) -> ! {
    super::fail(&[StartError::Program { name: image.into(), cause }])
}
