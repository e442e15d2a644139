//! The end of the way: libc is booted, what had to wait for it is done, and the program takes over.

use alloc::alloc::{Layout, alloc_zeroed};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use linux_raw_sys::auxvec::AT_RANDOM;

use crate::bind::{Definition, Scope};
use crate::elf::{Address, SymbolName};
use crate::error::{RelocationProblem, StartError};
use crate::host::{self, Boot, Synthetic};
use crate::layout;
use crate::map::protect;
use crate::program::{InitOrder, Object, ObjectId, Origin, Program};
use crate::relocate::{Counts, Deferred, LibcCopy, resolve_deferred};
use crate::runtime::{self, DebugState, Guarded, Initialization, ListState, Loader, Process};
use crate::statistics::{self, Phases, UsedImage};
use crate::sys;
use crate::tls::dynamic::Module;
use crate::tls::{self, StaticTls, x86_64 as tls_code};

use super::InitialStack;

/// Bytes for a thread control block where there is no libc to say how large it is.
const BARE_CONTROL_BLOCK: usize = 4096;

/// What remains to be done when everything is relocated.
pub struct Handover {
    /// Functions that tell values.
    pub deferred: Vec<Deferred>,
    /// Copies that libc makes.
    pub libc_copies: Vec<LibcCopy>,
    /// What libc must bind to instead of its own definitions, if an image knows it.
    pub interposed: Option<Vec<(SymbolName<'static>, Definition)>>,
    /// In which order the objects are initialised, likewise.
    pub initialisation: Option<InitOrder>,
    /// For the statistics.
    pub image: Option<UsedImage>,
    /// For the statistics.
    pub counts: Counts,
    /// A new name for the program.
    pub argv0: Option<&'static CStr>,
    /// Where the statistics go.
    pub statistics: Option<&'static CStr>,
    /// For the statistics.
    pub phases: Phases,
    /// Where the loader's own data begin.
    pub data: Address,
}

#[unsafe(link_section = ".sealed")]
static HANDOVER: AtomicPtr<Handover> = AtomicPtr::new(core::ptr::null_mut());

impl Handover {
    /// Boots libc if there is one, and starts the program.
    ///
    /// # Safety
    /// The program is mapped and relocated, and nothing of it has run.
    #[inline(never)]
    pub unsafe fn hand_over(
        mut self,
        mut loader: Loader,
        scope: Scope,
        tls: &'static StaticTls,
        debug: &'static DebugState,
        stack: InitialStack,
    ) -> ! {
        // From now on `--list` is over.
        loader.system.list = false;
        let image = merged_image(tls, &stack);
        let image_address = Address(image.as_ptr() as u64);
        loader.static_image = image_address;
        let program = &loader.program;
        let initialised = tls::merge_images(program, tls, image);
        tls_code::publish(tls);
        tls::dynamic::add_modules(&waiting_modules(program));
        let boot = program.libc().map(|libc| {
            let interposed = self.interposed.take().unwrap_or_else(|| host::exports(&program[libc], &scope));
            let stack_sizes = program.objects().map(|object| object.summary.stack_size);
            let synthetic = Synthetic::new(
                &interposed,
                &self.libc_copies,
                stack_sizes.max().unwrap_or(0),
                host::MergedTls { layout: tls, image: image_address, initialised },
                unused_memory(program),
                runtime::initialize,
                runtime::finalize,
            );
            // SAFETY: objects are boxed, and start-up objects stay for the life of the process.
            let libc = unsafe { &*core::ptr::from_ref(&program[libc]) };
            Boot { libc, synthetic, stack, then: finish }
        });
        // SAFETY: start-up objects stay as they are from now on.
        unsafe { debug.add(program, ObjectId::PROGRAM) };
        let order = self.initialisation.take().unwrap_or_else(|| runtime::order(program, ObjectId::PROGRAM));
        let start = runtime::queue(order, debug);
        let entry = program[ObjectId::PROGRAM].entry;
        let generation = AtomicU64::new(0);
        let stand_in = program.objects().find(|object| object.origin == Origin::Loader);
        // SAFETY: objects are boxed, and start-up objects stay for the life of the process.
        let stand_in = stand_in.map(|object| unsafe { &*core::ptr::from_ref(object) });
        let loader = Guarded::new(loader);
        let initialization = sys::leak_unsealed(Initialization::new());
        Process { scope, debug, start, initialization, entry, stack, generation, loader, stand_in }.publish();
        HANDOVER.store(Box::into_raw(Box::new(self)), Ordering::Release);
        // SAFETY: all that later code needs is published; our stack frames are not needed any more.
        unsafe {
            match boot {
                Some(boot) => host::boot(boot),
                None => {
                    set_up_bare_thread(tls, image, &stack);
                    finish()
                }
            }
        }
    }
}

/// What had to wait for libc.
fn finish() -> ! {
    // SAFETY: `hand_over` has stored a box, and this runs once.
    let mut handover = unsafe { Box::from_raw(HANDOVER.swap(core::ptr::null_mut(), Ordering::Acquire)) };
    let process = Process::get();
    handover.phases.end("libc");
    // SAFETY: libc is up, everything else is relocated, and nothing is sealed yet.
    unsafe { resolve_deferred(&handover.deferred) };
    // SAFETY: likewise, nothing can be called that changes anything.
    let loader = unsafe { process.loader.before_program() };
    for object in loader.program.objects() {
        if matches!(object.origin, Origin::Kernel | Origin::File) && !object.mapping.sealed {
            // SAFETY: the object is completely relocated.
            if let Err(errno) = unsafe { protect::seal_relro(object) } {
                let problem = RelocationProblem::Relro(errno);
                super::fail(&[StartError::Relocation { object: object.name.clone().into(), problem }]);
            }
        }
    }
    process.debug.announce(ListState::Consistent);
    if let Some(name) = handover.argv0 {
        // SAFETY: a program that is named on our command line has a name.
        unsafe { process.stack.set_program_name(name) };
    }
    if let Some(target) = handover.statistics {
        handover.phases.end("seal");
        let pieces = loader.system.mapper.pieces();
        let (counts, phases) = (&handover.counts, &handover.phases);
        statistics::write(target, &loader.program, handover.image.as_ref(), pieces, counts, phases);
    }
    let data = handover.data;
    drop(handover);
    log::info!("entering the program");
    // SAFETY: the loader's own data, of which no reference for writing is left.
    unsafe { sys::seal(data.0) };
    // SAFETY: the program is complete, and its stack is the initial one.
    unsafe { host::enter(process.entry, process.stack.pointer()) }
}

/// Thread-local storage that has no place in static storage, in the order of module ids.
fn waiting_modules(program: &Program) -> Vec<Module> {
    let waiting = program.objects().filter(|object| object.tls.is_some_and(|tls| tls.offset.is_none()));
    let module = |object: &Object| {
        let segment = object.tls_segment()?;
        Some(Module { image: object.address(segment.vaddr), segment, offset: None })
    };
    waiting.filter_map(module).collect()
}

/// What the start-up objects leave of their writable pages.
fn unused_memory(program: &Program) -> impl Iterator<Item = Range<Address>> + '_ {
    let ours = program.objects().filter(|object| matches!(object.origin, Origin::Kernel | Origin::File));
    // libc writes to what it is given.
    let private = ours.filter(|object| !object.mapping.shared);
    private.flat_map(|object| {
        layout::unused_ends(&object.segments).map(|gap| object.mapping.bias.apply_range(&gap))
    })
}

/// Memory for the merged image of thread-local storage.
fn merged_image(tls: &StaticTls, stack: &InitialStack) -> &'static mut [u8] {
    // SAFETY: the layout is not empty: there is always the loader's slot.
    thread_memory(tls, 0, stack, |layout| unsafe { alloc_zeroed(layout) })
}

/// Zeroed memory for static thread-local storage, aligned, with room for `extra` bytes behind it.
fn thread_memory(
    tls: &StaticTls,
    extra: usize,
    stack: &InitialStack,
    allocate: impl FnOnce(Layout) -> *mut u8,
) -> &'static mut [u8] {
    let size = tls.size as usize + extra;
    let memory = Layout::from_size_align(size, tls.align as usize).map_or(core::ptr::null_mut(), allocate);
    if memory.is_null() {
        let program = stack.arguments().next().unwrap_or_default().into();
        super::fail(&[StartError::ThreadLocalStorage { program, bytes: tls.size }]);
    }
    // SAFETY: the memory has that size, is zeroed and never freed.
    unsafe { core::slice::from_raw_parts_mut(memory, size) }
}

/// Without any libc, the one thread still gets a thread pointer, as musl would give it: a control block that begins with
/// its own address and has the stack protector's secret at 0x28.
///
/// # Safety
/// Nothing uses the thread pointer yet.
unsafe fn set_up_bare_thread(tls: &StaticTls, image: &[u8], stack: &InitialStack) {
    let block = thread_memory(tls, BARE_CONTROL_BLOCK, stack, sys::unsealed_memory);
    block[..image.len()].copy_from_slice(image);
    let thread_pointer = block.as_mut_ptr() as u64 + tls.size;
    let secret = match stack.auxiliary_value(AT_RANDOM) {
        // SAFETY: AT_RANDOM points to sixteen random bytes.
        Some(random) if random != 0 => unsafe { (random as *const u64).read_unaligned() & !0xff },
        _ => 0,
    };
    let control = &mut block[tls.size as usize..];
    control[..8].copy_from_slice(&thread_pointer.to_ne_bytes());
    control[0x28..0x30].copy_from_slice(&secret.to_ne_bytes());
    // SAFETY: the block is never freed; the caller vouches for the rest.
    unsafe { sys::set_thread_pointer(thread_pointer) };
}
