//! The functions of `<dlfcn.h>` and `<link.h>`, with musl's semantics and messages. libc's own know only the synthetic
//! object, so programs are bound to these.

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::ptr::{null, null_mut};
use core::sync::atomic::Ordering;

use crate::bind::Accept;
use crate::elf::{Address, SymbolName};
use crate::program::ObjectId;
use crate::sys::{Text, errno_text};
use crate::tls::dynamic;

use super::debug::LinkMap;
use super::load::OpenFlags;
use super::{Process, lookup};

/// `RTLD_NEXT` as a handle.
const RTLD_NEXT: usize = usize::MAX;
/// `RTLD_DI_LINKMAP`: the one request of `dlinfo` that musl knows.
const RTLD_DI_LINKMAP: c_int = 2;

/// `Dl_info` of `<dlfcn.h>`.
#[repr(C)]
pub struct DlInfo {
    file_name: *const c_char,
    file_base: *mut c_void,
    symbol_name: *const c_char,
    symbol_address: *mut c_void,
}

/// `struct dl_phdr_info` of `<link.h>`.
#[repr(C)]
pub struct DlPhdrInfo {
    address: u64,
    name: *const c_char,
    headers: *const c_void,
    header_count: u16,
    additions: u64,
    removals: u64,
    tls_module: usize,
    tls_data: *mut c_void,
}

/// The callback of `dl_iterate_phdr`.
pub type PhdrCallback = unsafe extern "C" fn(*mut DlPhdrInfo, usize, *mut c_void) -> c_int;

/// `dlopen` (POSIX).
///
/// # Safety
/// `name` is null or a C string.
pub unsafe extern "C" fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void {
    let process = Process::get();
    if name.is_null() {
        return process.debug.map_of(ObjectId::PROGRAM).map_or(null_mut(), handle);
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    match process.open(name, OpenFlags::from_bits_truncate(flags)) {
        Ok(map) => handle(map),
        Err(error) => {
            fail(format_args!("{error}"));
            null_mut()
        }
    }
}

/// `dlclose` (POSIX): nothing is ever unloaded.
pub extern "C" fn dlclose(handle: *mut c_void) -> c_int {
    c_int::from(map_of(Process::get(), handle).is_none())
}

/// `dlerror` (POSIX): the last failure of this thread since the last call, or null.
pub extern "C" fn dlerror() -> *mut c_char {
    dynamic::take_failure()
}

/// `dlsym` (POSIX): notes who calls, for `RTLD_NEXT`.
///
/// # Safety
/// The second argument is a C string.
#[unsafe(naked)]
pub unsafe extern "C" fn dlsym() {
    naked_asm!("mov rdx, [rsp]", "jmp {dlsym}", dlsym = sym dlsym_from)
}

/// # Safety
/// `name` is a C string.
unsafe extern "C" fn dlsym_from(handle: *mut c_void, name: *const c_char, caller: u64) -> *mut c_void {
    let process = Process::get();
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    let symbol = SymbolName::new(name.to_bytes());
    let definition = match handle as usize {
        0 => process.find_global(&symbol),
        RTLD_NEXT => process.find_next(process.object_at(Address(caller)), &symbol),
        _ => match map_of(process, handle) {
            Some(map) if map.id() == ObjectId::PROGRAM => process.find_global(&symbol),
            Some(map) => map.group().and_then(|group| group.find(&symbol, Accept::AnyWithValue)),
            None => return null_mut(),
        },
    };
    let value = definition.map(|definition| process.value_of(&definition));
    match value {
        Some(Ok(value)) => return value.0 as *mut c_void,
        Some(Err(errno)) => fail(format_args!("{}: {}", Text::from(name), errno_text(errno))),
        None => fail(format_args!("Symbol not found: {}", Text::from(name))),
    }
    null_mut()
}

/// `dladdr`: which object and symbol an address belongs to. Returns 0 if it belongs to none.
///
/// # Safety
/// `info` points to room for a `Dl_info`.
pub unsafe extern "C" fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int {
    let process = Process::get();
    let address = Address(address as u64);
    let Some(object) = process.object_at(address).map(LinkMap::object) else { return 0 };
    let symbol = lookup::symbol_at(object, address);
    let name = symbol.and_then(|symbol| object.symbols.string(u64::from(symbol.name)));
    let found = DlInfo {
        file_name: object.name.as_ptr(),
        file_base: object.mapping.pages.start.0 as *mut c_void,
        symbol_name: name.map_or(null(), CStr::as_ptr),
        symbol_address: symbol.map_or(null_mut(), |symbol| object.address(symbol.vaddr()).0 as *mut c_void),
    };
    // SAFETY: the caller's promise.
    unsafe { info.write(found) };
    1
}

/// `dlinfo`: the link map of a handle.
///
/// # Safety
/// `result` points to room for a pointer.
pub unsafe extern "C" fn dlinfo(handle: *mut c_void, request: c_int, result: *mut *mut c_void) -> c_int {
    if map_of(Process::get(), handle).is_none() {
        return -1;
    }
    if request != RTLD_DI_LINKMAP {
        fail(format_args!("Unsupported request {request}"));
        return -1;
    }
    // SAFETY: the caller's promise.
    unsafe { result.write(handle) };
    0
}

/// `dl_iterate_phdr`: shows every object's program headers to `callback`, until it returns something but 0.
///
/// # Safety
/// `callback` may be called with `data`.
pub unsafe extern "C" fn dl_iterate_phdr(callback: PhdrCallback, data: *mut c_void) -> c_int {
    let process = Process::get();
    for object in process.debug.maps().map(LinkMap::object) {
        let (headers, header_count) = object.program_headers.unwrap_or_default();
        let block = lookup::thread_block(object).unwrap_or_default();
        let mut info = DlPhdrInfo {
            address: object.mapping.bias.0,
            name: object.name.as_ptr(),
            headers: headers.0 as *const c_void,
            header_count,
            additions: process.generation.load(Ordering::Relaxed),
            removals: 0,
            tls_module: object.tls.map_or(0, |tls| tls.module as usize),
            tls_data: block.0 as *mut c_void,
        };
        // SAFETY: the caller's promise.
        let result = unsafe { callback(&raw mut info, size_of::<DlPhdrInfo>(), data) };
        if result != 0 {
            return result;
        }
    }
    0
}

fn handle(map: &'static LinkMap) -> *mut c_void {
    core::ptr::from_ref(map).cast_mut().cast()
}

/// The object that a handle stands for; reports an invalid one (`__dl_invalid_handle`).
fn map_of(process: &Process, given: *mut c_void) -> Option<&'static LinkMap> {
    let map = process.debug.maps().find(|&map| handle(map) == given);
    if map.is_none() {
        fail(format_args!("Invalid library handle {given:p}"));
    }
    map
}

/// Remembers why a call fails, for `dlerror`.
fn fail(message: fmt::Arguments<'_>) {
    dynamic::set_failure(|text| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(message);
    });
}
