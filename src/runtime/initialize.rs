//! Constructors and destructors (`do_init_fini`, `__libc_exit_fini`). For the start-up objects, libc calls
//! [`initialize`] and [`finalize`] as those of the synthetic object, inside `__libc_start_main` and `exit`; for objects that
//! are loaded later, `dlopen` runs the constructors.

use alloc::vec::Vec;

use crate::elf::{Address, Table, Vaddr};
use crate::program::{InitOrder, Object, ObjectId, Program, initialization_order};
use crate::sys::{Condition, Mutex, Text, thread_pointer};

use super::Process;
use super::debug::{DebugState, LinkMap};

/// Objects whose constructors are to run, dependencies first.
pub type Queue = Vec<&'static LinkMap>;

/// How far constructors and destructors have come. It is not sealed, so that it names objects by their ids rather than by
/// pointers.
pub struct Initialization {
    progress: Mutex<Progress>,
    changed: Condition,
}

struct Progress {
    /// In the order in which their constructors began: destructors run in reverse.
    begun: Vec<ObjectId>,
    /// By object; those that are missing have not begun.
    states: Vec<State>,
    /// The thread that runs the start-up objects' constructors.
    starting: Option<u64>,
    /// The process is exiting: no more constructors begin.
    exiting: bool,
    /// That kept start-up constructors from running.
    cut_short: bool,
    finalized: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotBegun,
    /// A thread, known by its thread pointer, runs the constructors.
    Running(u64),
    /// A thread that ran them does not exist in this process, which has been forked.
    Lost,
    /// They have returned, or there is nothing to be run, and it was asked for when everything that it depends on was done.
    Done,
}

/// What to do with constructors that have not begun when the process exits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WhenExiting {
    /// Return without running them: libc waits for the caller.
    Skip,
    /// Never return, as in musl: another thread ends the process.
    Wait,
}

/// In which order an object and its dependencies are initialised, as far as there is anything to be run.
pub fn order(program: &Program, root: ObjectId) -> InitOrder {
    let dependencies: Vec<&[ObjectId]> =
        program.objects().map(|object| object.dependencies.as_slice()).collect();
    let mut order = initialization_order(root, &dependencies);
    order.retain(|&id| program[id].has_initialisation());
    order
}

/// These objects as debuggers and the program see them.
pub fn queue(order: InitOrder, list: &DebugState) -> Queue {
    let maps: Vec<&'static LinkMap> = list.maps().collect();
    let map_of = |id| maps.binary_search_by_key(&id, |map| map.id()).ok().map(|at| maps[at]);
    order.into_iter().filter_map(map_of).collect()
}

#[expect(clippy::new_without_default, reason = "made once")]
impl Initialization {
    /// Nothing has begun.
    pub fn new() -> Self {
        let progress = Progress {
            begun: Vec::new(),
            states: Vec::new(),
            starting: None,
            exiting: false,
            cut_short: false,
            finalized: false,
        };
        Self { progress: Mutex::new(progress), changed: Condition::default() }
    }

    /// Runs the constructors of a queue, each object's once. Waits for those that another thread is running; those that
    /// this thread is running (it got here from a constructor) are passed over. Whether all have run.
    pub fn run(&self, queue: &[&'static LinkMap], when_exiting: WhenExiting) -> bool {
        let this = thread_pointer();
        for &map in queue {
            let mut progress = self.progress.lock();
            let state = loop {
                if progress.exiting && when_exiting == WhenExiting::Skip {
                    return false;
                }
                let state = progress.state_of(map);
                match state {
                    State::Running(thread) if thread != this => {}
                    _ if !progress.exiting => break state,
                    _ => {}
                }
                progress = self.changed.wait(progress);
            };
            if state != State::NotBegun {
                continue;
            }
            progress.begun.push(map.id());
            progress.set_state(map, State::Running(this));
            drop(progress);
            log::debug!("constructors of {}", Text::from(&map.object().name));
            // SAFETY: the object is relocated and libc is up; the order is that of dependencies.
            unsafe { construct(map.object()) };
            self.progress.lock().set_state(map, State::Done);
            self.changed.notify_all();
        }
        true
    }

    /// Stops the calling thread for ever if an exit has kept start-up constructors from running.
    pub fn stop_if_cut_short(&self) {
        let mut progress = self.progress.lock();
        while progress.cut_short {
            progress = self.changed.wait(progress);
        }
    }

    /// Runs the destructors of what has been constructed, in reverse order, once. Waits for constructors that another
    /// thread is running.
    fn finalize(&self, debug: &DebugState) {
        let this = thread_pointer();
        let mut progress = self.progress.lock();
        progress.exiting = true;
        if core::mem::replace(&mut progress.finalized, true) {
            return;
        }
        let maps: Vec<&LinkMap> = debug.maps().collect();
        let mut next = progress.begun.len();
        while let Some(index) = next.checked_sub(1) {
            next = index;
            let id = progress.begun[index];
            // Ids are in the order of the list.
            let Ok(place) = maps.binary_search_by_key(&id, |map| map.id()) else { continue };
            let map = maps[place];
            while matches!(progress.state_of(map), State::Running(thread) if thread != this) {
                progress = self.changed.wait(progress);
            }
            if progress.state_of(map) == State::Done {
                drop(progress);
                log::debug!("destructors of {}", Text::from(&map.object().name));
                // SAFETY: its constructors have returned, and this happens once.
                unsafe { destruct(map.object()) };
                progress = self.progress.lock();
            }
        }
    }

    /// An object of the queue whose constructors will never be finished.
    pub fn find_lost(&self, queue: &[&'static LinkMap]) -> Option<&'static LinkMap> {
        let progress = self.progress.lock();
        queue.iter().copied().find(|map| progress.state_of(map) == State::Lost)
    }

    /// Whether an object's own constructors have run: then nothing is run for it any more, also if something that it depends on, in a
    /// circle, still waits.
    pub fn is_constructed(&self, map: &LinkMap) -> bool {
        self.progress.lock().state_of(map) == State::Done
    }

    /// If the constructors of a queue have all run, there will be nothing to do for the object any more that it was made for.
    pub fn settle(&self, map: &LinkMap, queue: &[&'static LinkMap]) {
        let mut progress = self.progress.lock();
        if queue.iter().all(|map| progress.state_of(map) == State::Done) {
            progress.set_state(map, State::Done);
        }
    }

    /// In the child of a `fork`, with the lock taken: only this thread exists.
    pub fn forget_other_threads(&self) {
        let this = thread_pointer();
        // SAFETY: the thread that forked has taken the lock by `acquire` or `take_over`.
        let progress = unsafe { self.progress.locked() };
        for state in &mut progress.states {
            if matches!(state, State::Running(thread) if *thread != this) {
                *state = State::Lost;
            }
        }
    }

    /// Whether the process is exiting.
    pub fn is_exiting(&self) -> bool {
        self.progress.lock().exiting
    }

    /// Keeps everything as it is across a `fork`.
    pub fn acquire(&self) {
        self.progress.acquire();
    }

    /// The same in the child of a `fork` that nobody has waited for: a thread that does not exist may have it.
    pub fn take_over(&self) {
        self.progress.take_over();
    }

    /// Ends [`Initialization::acquire`].
    pub fn release(&self) {
        self.progress.release();
    }
}

impl Progress {
    /// The calling thread begins with the start-up objects. To make room for all of them once takes less than to grow.
    fn begin_start(&mut self, queue: &[&'static LinkMap]) {
        self.starting = Some(thread_pointer());
        self.begun.reserve_exact(queue.len());
        let objects = queue.iter().map(|map| map.id().index() + 1).max();
        self.states.reserve_exact(objects.unwrap_or(0));
    }

    fn state_of(&self, map: &LinkMap) -> State {
        self.states.get(map.id().index()).copied().unwrap_or_default()
    }

    fn set_state(&mut self, map: &LinkMap, state: State) {
        let index = map.id().index();
        if index >= self.states.len() {
            self.states.resize(index + 1, State::NotBegun);
        }
        self.states[index] = state;
    }
}

/// Runs every start-up object's constructors.
///
/// If one of them exits, libc considers the synthetic object unconstructed and will not call [`finalize`]. So before
/// anything else, a function is registered that does it in that case: first registered, it runs last, as destructors do.
pub extern "C" fn initialize() {
    let process = Process::get();
    let initialization = process.initialization;
    initialization.progress.lock().begin_start(&process.start);
    if let Some(atexit) = process.libc_function(b"atexit") {
        // SAFETY: libc's `atexit` has this signature (C11 7.22.4.2), and libc is up.
        unsafe {
            let atexit: extern "C" fn(extern "C" fn()) -> i32 = core::mem::transmute(atexit.0);
            atexit(at_exit);
        }
    }
    let complete = initialization.run(&process.start, WhenExiting::Skip);
    let own_last = process.start.last().is_some_and(|map| map.id() == ObjectId::PROGRAM);
    let mut progress = initialization.progress.lock();
    progress.starting = None;
    progress.cut_short = progress.exiting && !(complete && own_last);
}

/// Runs destructors at exit.
pub extern "C" fn finalize() {
    let process = Process::get();
    process.initialization.finalize(process.debug);
}

/// Runs at exit. If that comes from a start-up constructor, libc will not run destructors: do it here. If it comes from
/// another thread meanwhile, libc waits for start-up constructors to end, and no further ones must begin.
extern "C" fn at_exit() {
    let initialization = Process::get().initialization;
    let starting = {
        let mut progress = initialization.progress.lock();
        progress.exiting = progress.starting.is_some();
        progress.starting
    };
    if starting == Some(thread_pointer()) {
        finalize();
    }
}

/// `DT_INIT`, then `DT_INIT_ARRAY` forwards; without arguments, as in musl.
///
/// # Safety
/// The object is relocated, libc is up, and what it depends on is constructed.
unsafe fn construct(object: &Object) {
    // To call them would touch a page of code that may not be needed otherwise.
    if object.idle_constructors {
        return;
    }
    // SAFETY: passed on to the caller.
    unsafe {
        if let Some(init) = object.dynamic.init {
            call(object.address(init));
        }
        for index in 0..entries(object.dynamic.init_array) {
            call_entry(object, object.dynamic.init_array, index);
        }
    }
}

/// `DT_FINI_ARRAY` backwards, then `DT_FINI`.
///
/// # Safety
/// The object is constructed and is not destructed twice.
unsafe fn destruct(object: &Object) {
    if object.idle_destructors {
        return;
    }
    // SAFETY: passed on to the caller.
    unsafe {
        for index in (0..entries(object.dynamic.fini_array)).rev() {
            call_entry(object, object.dynamic.fini_array, index);
        }
        if let Some(fini) = object.dynamic.fini {
            call(object.address(fini));
        }
    }
}

fn entries(table: Table) -> u64 {
    table.size / size_of::<u64>() as u64
}

/// # Safety
/// As for [`call`].
unsafe fn call_entry(object: &Object, table: Table, index: u64) {
    let entry = Vaddr(table.vaddr.0.wrapping_add(index * size_of::<u64>() as u64));
    let Some(bytes) = object.view.bytes(entry, size_of::<u64>() as u64) else { return };
    // SAFETY: in bounds. The word is read afresh: constructors may change the array.
    unsafe { call(Address(bytes.as_ptr().cast::<u64>().read_unaligned())) };
}

/// # Safety
/// `function` is what the object names as one of its constructors or destructors.
unsafe fn call(function: Address) {
    // SAFETY: a function without arguments, as the dynamic section says.
    unsafe {
        let function: extern "C" fn() = core::mem::transmute(function.0);
        function();
    }
}
