//! What is to be run: the program for which the kernel started us as the interpreter, or the one that our command line
//! names.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use linux_raw_sys::auxvec::{AT_ENTRY, AT_EXECFN, AT_PHDR, AT_PHNUM};

use crate::config::{CommandLine, Config};
use crate::discover::World;
use crate::elf::{Address, ElfError};
use crate::error::{LoadError, StartError};
use crate::host::{self, OwnFile, locate};
use crate::map::{System, adopt};
use crate::program::{Object, Origin};
use crate::sys::{self, Errno, FileStamp, Text};

use super::stack::InitialStack;

/// musl's exit code for a command line that names no loadable program.
const EXIT_USAGE: i32 = 1;

/// What is to be run, and how.
pub struct Invocation {
    /// The program, mapped.
    pub program: Box<Object>,
    /// The stack as the program is to see it.
    pub stack: InitialStack,
    /// The environment's wishes, overridden by those of the command line.
    pub config: Config<'static>,
    /// The interpreter that the program names, if that need not be us.
    pub interpreter: Option<&'static CStr>,
    /// Where the kernel has found us, if it started us as an interpreter.
    pub own_name: Option<&'static CStr>,
    /// What we are called: by the program, or on the command line (`ldso.name` in musl).
    pub interpreter_name: &'static CStr,
    /// What the program is to take for its own name.
    pub argv0: Option<&'static CStr>,
    /// The program's file, if the kernel started it and said where it is.
    pub file: Option<FileStamp>,
}

impl Invocation {
    /// Finds out.
    ///
    /// # Safety
    /// `stack` is the initial stack, and `own` the file that we are in.
    #[inline(never)]
    pub unsafe fn read(
        stack: &InitialStack,
        own: OwnFile,
        config: Config<'static>,
        system: &mut System,
    ) -> Self {
        let headers = stack.auxiliary_value(AT_PHDR).unwrap_or_default();
        // SAFETY: passed on to the caller.
        if unsafe { own.program_headers() } == Ok(Address(headers)) {
            // SAFETY: passed on to the caller.
            unsafe { Self::from_command_line(stack, own, config, system) }
        } else {
            // SAFETY: passed on to the caller; the kernel has mapped another program.
            unsafe { Self::from_kernel(stack, Address(headers), config) }
        }
    }

    /// # Safety
    /// `headers` is `AT_PHDR`.
    unsafe fn from_kernel(stack: &InitialStack, headers: Address, config: Config<'static>) -> Self {
        let argv0 = stack.arguments().next().unwrap_or_default();
        // SAFETY: the kernel's AT_EXECFN is a string.
        let path = stack
            .auxiliary_value(AT_EXECFN)
            .filter(|&path| path != 0)
            .map(|path| unsafe { CStr::from_ptr(path as *const _) })
            .filter(|path| !path.to_bytes().starts_with(b"/proc/"));
        let name = path.unwrap_or(argv0);
        let count = stack.auxiliary_value(AT_PHNUM).and_then(|count| u16::try_from(count).ok());
        let entry = Address(stack.auxiliary_value(AT_ENTRY).unwrap_or_default());
        let file = sys::file_status(name).ok().map(|status| status.stamp);
        let size = file.map(|stamp| stamp.size);
        // SAFETY: these are the kernel's words about the program that it has mapped.
        let program = unsafe { adopt::program(name, size, (headers, count.unwrap_or(0)), entry) };
        let program =
            program.unwrap_or_else(|cause| super::fail(&[StartError::Program { name: name.into(), cause }]));
        let own_name = program.interpreter();
        let interpreter_name = own_name.unwrap_or_default();
        let stack = *stack;
        let file = file.filter(|_| path.is_some());
        Self { program, stack, config, interpreter: None, own_name, interpreter_name, argv0: None, file }
    }

    /// # Safety
    /// The arguments on the stack are not in use elsewhere.
    unsafe fn from_command_line(
        stack: &InitialStack,
        own: OwnFile,
        mut config: Config<'static>,
        system: &mut System,
    ) -> Self {
        let arguments: Vec<&'static CStr> = stack.arguments().collect();
        let Some(line) = CommandLine::parse(&arguments) else { usage(stack, own, &config, system) };
        let loader_name = arguments[0];
        let path = arguments[line.consumed];
        config.library_path = line.library_path.or(config.library_path);
        config.preload = line.preload.or(config.preload);
        system.list = line.list;
        let program = load_program(system, loader_name, path);
        // SAFETY: `consumed` is the index of the program's path.
        let stack = unsafe { stack.without_arguments(line.consumed) };
        let interpreter = program.interpreter();
        // To list is to show what would happen if the program were started by its own interpreter.
        let interpreter_name = interpreter.filter(|_| line.list).unwrap_or(loader_name);
        let argv0 = line.argv0;
        Self { program, stack, config, interpreter, own_name: None, interpreter_name, argv0, file: None }
    }
}

/// Maps the program that the command line names.
fn load_program(system: &mut System, loader_name: &CStr, path: &CStr) -> Box<Object> {
    let (loader_name, shown) = (Text::from(loader_name), Text::from(path));
    let opened = system.open(path).and_then(|file| system.identity(&file).map(|found| (file, found)));
    let (file, (identity, size)) = opened.unwrap_or_else(|errno| {
        let cause = sys::errno_text(errno);
        sys::print(sys::stderr(), format_args!("{loader_name}: cannot load {shown}: {cause}\n"));
        sys::exit(EXIT_USAGE)
    });
    let loaded = system.load(file, identity, size, CString::from(path), Origin::File);
    let runnable = loaded.and_then(|program| match is_static(&program) && !system.list {
        true => Err(ElfError::Static.into()),
        false => Ok(program),
    });
    runnable.unwrap_or_else(|error| {
        let line = format_args!("{loader_name}: {shown}: Not a valid dynamic program");
        match error {
            LoadError::Elf(error) if !error.known_to_musl() => {
                sys::print(sys::stderr(), format_args!("{line}: {error}\n"));
            }
            LoadError::System(errno) if errno != Errno::NOEXEC && errno != Errno::ISDIR => {
                sys::print(sys::stderr(), format_args!("{line}: {}\n", sys::errno_text(errno)));
            }
            _ => sys::print(sys::stderr(), format_args!("{line}\n")),
        }
        sys::exit(EXIT_USAGE)
    })
}

/// A static-pie with thread-local storage brings its own libc, which would look for that in our program headers.
fn is_static(program: &Object) -> bool {
    let alone = program.segments.interpreter.is_none() && program.dynamic.needed.is_empty();
    alone && program.segments.tls.is_some()
}

/// The usage text. Scripts read the musl version from it (Python's packaging does), and only libc itself knows that: so
/// let libc, which takes the same options, print it.
fn usage(stack: &InitialStack, own: OwnFile, config: &Config<'_>, system: &mut System) -> ! {
    let name = stack.arguments().next().unwrap_or_default();
    // SAFETY: the kernel has mapped our file, for the life of the process.
    let fused = || unsafe { own.libc(name) };
    if let Ok(Some(libc)) = locate::libc(system, config.libc, fused, None, None) {
        if libc.identity.is_none() {
            // SAFETY: a fused libc finds everything as if the kernel had started it: the file and the stack are its own.
            unsafe { host::enter(libc.entry, stack.pointer()) }
        }
        // SAFETY: both arrays are those of the initial stack.
        let errno = unsafe { sys::execute(&libc.name, stack.argument_array(), stack.environment_array()) };
        log::warn!("{} cannot be run: {}", Text::from(&libc.name), sys::errno_text(errno));
    }
    let list = name.to_bytes().ends_with(b"ldd") || stack.arguments().any(|argument| argument == c"--list");
    let arguments = if list { "" } else { " [args]" };
    let name = Text::from(name);
    let text = format_args!(
        "musl libc (x86_64)\nVersion unknown\nDynamic Program Loader\nUsage: {name} [options] [--] pathname{arguments}\n"
    );
    sys::print(sys::stderr(), text);
    sys::exit(EXIT_USAGE)
}
