//! From the kernel's hands to the program's entry: the one way through the house.
//!
//! `start` tells the story; `invocation` finds out what is to be run, `image` whether most of the work is done already,
//! `handover` boots libc and lets go.

mod alone;
mod handover;
mod image;
mod invocation;
mod leave;
mod stack;
pub mod x86_64;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::ffi::CStr;

use linux_raw_sys::auxvec::{AT_BASE, AT_SYSINFO_EHDR};

use crate::bind::{Index, Lookup, Outline, Scope};
use crate::config::{self, Config};
use crate::discover::{Discovery, Host, Search, Wishes};
use crate::elf::{Address, ElfError, PAGE_SIZE};
use crate::error::{RelocationProblem, StartError};
use crate::host::{OwnFile, locate};
use crate::image::Attached;
use crate::image::format::Watch;
use crate::map::{self, System, adopt};
use crate::program::{Object, ObjectId, Origin, Program};
use crate::relocate::{Moment, Relocated, Slots, complete, relocate};
use crate::runtime::{DebugState, DebugSymbols, Loader, watch_main};
use crate::statistics::Phases;
use crate::sys::{self, MESSAGE_PREFIX, Scratch, Text};
use crate::tls;

use handover::Handover;
use invocation::Invocation;
pub use stack::{Auxiliary, InitialStack};

/// musl's exit code for a program that cannot be loaded.
const EXIT_CANNOT_LOAD: i32 = 127;

/// Starts the program.
///
/// # Safety
/// `stack` is the initial stack of the process, `base` the address of our own ELF header, `data` where our own data begin, we are
/// relocated, and there is one thread.
#[inline(never)]
unsafe fn start(stack: *mut u64, base: Address, data: Address) -> ! {
    // SAFETY: passed on to the caller.
    let stack = unsafe { InitialStack::new(stack) };
    let config = Config::from_environment(stack.environment(config::PREFIX), stack.is_secure(), complain);
    sys::init_logging(config.log);
    let own = OwnFile::of(base);
    let mut phases = Phases::new(config.stats.is_some());
    let mut system = System { mapper: map::backend(config.map, free_space(&stack, own)), list: false };

    // SAFETY: the stack and the base are the kernel's word.
    let invocation = unsafe { Invocation::read(&stack, own, config, &mut system) };
    let Invocation { program, stack, config, .. } = invocation;
    // A library may be listed, but it has nowhere to begin.
    if !system.list && !program.is_code(program.entry) {
        fail(&[StartError::Program { name: program.name.clone().into(), cause: ElfError::EntryNotCode }]);
    }
    // SAFETY: the kernel has mapped our file, for the life of the process.
    let fused = || unsafe { own.libc(invocation.interpreter_name) };
    // SAFETY: we are mapped at `base`, for ever.
    let loader = unsafe { adopt::whole(Origin::Loader, c"ld-morsel", base) };
    let loader = loader
        .unwrap_or_else(|error| fail(&[StartError::Program { name: c"ld-morsel".into(), cause: error }]));
    let wishes = Wishes {
        interpreter: invocation.interpreter_name,
        library_path: config.library_path,
        secure: config.secure,
    };
    // Only who uses an image asks for them here.
    let known_symbols = OnceCell::new();
    let symbols = || {
        *known_symbols.get_or_init(|| {
            let shown = fused().and_then(Result::ok);
            DebugSymbols::of(&loader, shown.as_deref().unwrap_or(&loader))
        })
    };
    let debugged = || symbols().are_watched();
    let found = image::find(&program, invocation.file, own, &config, &stack, system.list, &debugged);
    let started = match found {
        Some(image) => {
            let symbols = symbols();
            phases.end("image");
            if image.watch.contains(Watch::MAIN) {
                watch_main();
            }
            let start = image::objects(image, program, loader, wishes, &config, &mut system);
            start.map(|start| (start, symbols))
        }
        None => Err((program, loader)),
    };
    let (debug_symbols, image, mut program, mut search, mut errors);
    match started {
        Ok((start, symbols)) => {
            (image, program, search) = (Some(start.image), start.program, start.search);
            (debug_symbols, errors) = (symbols, Vec::new());
        }
        Err((alone, loader)) => {
            image = None;
            let libc =
                locate::libc(&mut system, config.libc, fused, invocation.interpreter, invocation.own_name);
            let libc = libc.unwrap_or_else(|error| fail(&[error]));
            let hosted = libc.as_ref().filter(|libc| libc.mapping.pages.start == own.start);
            // Debuggers know our file's symbols, also where the user has named another libc.
            let other = if hosted.is_none() { fused().and_then(Result::ok) } else { None };
            debug_symbols = DebugSymbols::of(&loader, hosted.or(other.as_ref()).unwrap_or(&loader));
            if system.list {
                announce_interpreter(invocation.interpreter_name, own.start);
            }
            phases.end("prepare");
            search = Search::new(libc.map(|libc| Host { loader, libc }), wishes);
            program = Program::default();
            program.add(alone);
            errors = Discovery::new(&mut system, &mut program, &mut search).start(config.preload);
            system.mapper.settle();
        }
    }
    let scope = match &image {
        // Nothing is looked up: all bindings are known.
        Some(image) if !image.is_extended() => Scope::default(),
        _ => Scope::new(&program),
    };
    add_unsearched(&mut program, search.take_host(), &stack);
    phases.end("discover");

    let tls = match &image {
        Some(image) => tls::lay_out(&mut program, image.tls_order(), config.tls_surplus),
        None => {
            let order = program.ids();
            tls::lay_out(&mut program, order, config.tls_surplus)
        }
    };
    let tls = Box::leak(Box::new(tls));
    let debug = DebugState::new(own.start, debug_symbols);
    show_to_debuggers(&program[ObjectId::PROGRAM], debug);
    if let Some(image) = image.as_ref().filter(|image| !image.has_layout_of(&program)) {
        image::damaged(&image.path, ElfError::BadTable("its thread-local storage"));
    }
    let relocated = match &image {
        // SAFETY: everything is mapped and laid out, and no code but ours has run.
        Some(image) => unsafe {
            complete(&program, Lookup::in_global(&scope), image.late(&program), &image.added)
        },
        // SAFETY: likewise.
        None => unsafe { relocate_all(&program, &scope) },
    };
    errors.extend(relocated.errors);
    phases.end("relocate");
    if !errors.is_empty() {
        fail(&errors);
    }
    if system.list {
        sys::exit(0);
    }

    let loader = Loader {
        program,
        search,
        system,
        postponed: Vec::new(),
        static_tls: tls.clone(),
        static_image: Address(0),
        is_loading: false,
    };
    let handover = Handover {
        deferred: relocated.deferred,
        libc_copies: relocated.libc_copies,
        interposed: image.as_ref().and_then(|image| image.interposed(&loader.program)),
        initialisation: image.as_ref().and_then(Attached::initialisation),
        image: image.as_ref().filter(|_| config.stats.is_some()).map(Attached::statistics),
        counts: relocated.counts,
        argv0: invocation.argv0,
        statistics: config.stats,
        phases,
        data,
    };
    // SAFETY: the program is complete.
    unsafe { handover.hand_over(loader, scope, tls, debug, stack) }
}

/// Relocates all objects.
///
/// # Safety
/// Everything is mapped and laid out, and no code but ours has run.
unsafe fn relocate_all(program: &Program, scope: &Scope) -> Relocated {
    let outline = Outline::worthwhile(scope.first());
    let mut memory = outline.as_ref().and_then(|outline| Scratch::new(outline.words()).ok());
    let index = outline.as_ref().zip(memory.as_mut());
    let index = index.map(|(outline, memory)| Index::new(outline, memory.words()));
    let order = program.ids().skip(1).chain([ObjectId::PROGRAM]);
    // SAFETY: passed on to the caller.
    unsafe { relocate(program, Lookup { index, ..Lookup::in_global(scope) }, order, Moment::Start) }
}

/// An address below which there is free space, if all is as usual: the kernel puts an interpreter at the top of the memory for
/// mappings, and the vDSO with its data below it or elsewhere. A wrong guess costs one system call.
fn free_space(stack: &InitialStack, own: OwnFile) -> Option<Address> {
    const NEAR: u64 = 1 << 20;
    const VDSO_DATA: u64 = 16 * PAGE_SIZE;
    stack.auxiliary_value(AT_BASE).filter(|&base| base != 0)?;
    let vdso = stack.auxiliary_value(AT_SYSINFO_EHDR).unwrap_or_default();
    let near = vdso < own.start.0 && own.start.0 - vdso < NEAR;
    Some(Address(if near { vdso - VDSO_DATA } else { own.start.0 }))
}

/// Objects that take no part in symbol lookup: a libc that nothing asked for (it makes the thread pointer all the same),
/// and the vDSO.
fn add_unsearched(program: &mut Program, unused_host: Option<Host>, stack: &InitialStack) {
    if let Some(host) = unused_host {
        program.add(host.libc);
    }
    if let Some(start) = stack.auxiliary_value(AT_SYSINFO_EHDR).filter(|&start| start != 0) {
        // SAFETY: the kernel says so.
        match unsafe { adopt::whole(Origin::Vdso, c"", Address(start)) } {
            Ok(vdso) => {
                let id = program.add(vdso);
                program.notes_mut(id).short_name = Some(c"linux-gate.so.1".into());
            }
            Err(error) => log::warn!("the vDSO is not usable: {error}"),
        }
    }
}

/// Fills in the program's `DT_DEBUG`.
fn show_to_debuggers(program: &Object, debug: &'static DebugState) {
    if let Some(slot) = program.dynamic.debug {
        // SAFETY: the program is mapped, and its code does not run yet. A read-only dynamic section stays as it is.
        unsafe { Slots::of(program).write(slot, core::ptr::from_ref(debug) as u64) };
    }
}

/// `--list` begins with the interpreter that the program names.
fn announce_interpreter(name: &CStr, base: Address) {
    sys::print(sys::stdout(), format_args!("\t{} ({base:?})\n", Text::from(name)));
}

/// A value in the environment that makes no sense.
fn complain(variable: &str, value: &CStr, expected: &str) {
    let value = Text::from(value);
    let line = format_args!("{MESSAGE_PREFIX}{variable}={value}: ignored, expected {expected}\n");
    sys::print(sys::stderr(), line);
}

/// Tells what is wrong, and ends the process. Where the root of it all is that the program belongs to glibc, that is all
/// that there is to tell.
fn fail(errors: &[StartError]) -> ! {
    let is_glibc = |error: &&StartError| {
        matches!(error, StartError::Relocation { problem: RelocationProblem::Glibc, .. })
    };
    let told: Vec<&StartError> = match errors.iter().find(is_glibc) {
        Some(error) => alloc::vec![error],
        None => errors.iter().collect(),
    };
    for error in &told {
        sys::print(sys::stderr(), format_args!("{error}\n"));
    }
    for error in errors.iter().filter(|_| told.len() < errors.len()) {
        log::info!("{error}");
    }
    sys::exit(EXIT_CANNOT_LOAD)
}
