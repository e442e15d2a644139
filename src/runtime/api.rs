//! The functions of `<dlfcn.h>` and `<link.h>`, with musl's semantics and messages. libc's own know only the synthetic
//! object, so programs are bound to these.

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use core::ptr::{null, null_mut};
use core::sync::atomic::Ordering;

use crate::elf::{Address, SymbolName};
use crate::program::ObjectId;
use crate::sys::{Text, errno_text};
use crate::tls::dynamic;

use super::debug::LinkMap;
use super::load::OpenFlags;
use super::lookup::Searched;
use super::{Process, lookup};

/// `RTLD_NEXT` as a handle.
const RTLD_NEXT: usize = usize::MAX;
/// `dladdr1`: the symbol's entry is wanted.
const RTLD_DL_SYMENT: c_int = 1;
/// `dladdr1`: the link map is wanted.
const RTLD_DL_LINKMAP: c_int = 2;

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
    process.open(name, OpenFlags::from_bits_truncate(flags)).map_or(null_mut(), handle)
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
    naked_asm!("xor edx, edx", "mov rcx, [rsp]", "jmp {find}", find = sym find_symbol)
}

/// `dlvsym` (a GNU function that musl lacks): the symbol of one version.
///
/// # Safety
/// The second and third arguments are C strings.
#[unsafe(naked)]
pub unsafe extern "C" fn dlvsym() {
    naked_asm!("mov rcx, [rsp]", "jmp {find}", find = sym find_symbol)
}

/// # Safety
/// `name` is a C string, and so is `version` if it is not null.
unsafe extern "C" fn find_symbol(
    handle: *mut c_void,
    name: *const c_char,
    version: *const c_char,
    caller: u64,
) -> *mut c_void {
    let process = Process::get();
    // SAFETY: the caller's promise.
    let (name, version) =
        unsafe { (CStr::from_ptr(name), (!version.is_null()).then(|| CStr::from_ptr(version))) };
    if !process.complete() {
        return null_mut();
    }
    let searched = match handle as usize {
        0 => Some(Searched::Global),
        RTLD_NEXT => process.next_after(Address(caller)),
        _ => match map_of(process, handle) {
            Some(map) if map.id() == ObjectId::PROGRAM => Some(Searched::Global),
            Some(map) => {
                // A handle need not come from `dlopen`: the link map of a start-up object is one, too.
                if map.group().is_none() {
                    match process.loader.change_briefly() {
                        Ok(loader) => loader.know_group(map),
                        Err(refusal) => {
                            fail(format_args!("{}: {refusal}", Text::from(name)));
                            return null_mut();
                        }
                    }
                }
                map.group().map(Searched::Group)
            }
            None => return null_mut(),
        },
    };
    let symbol = SymbolName::new(name.to_bytes());
    let wanted = version.map(|version| SymbolName::new(version.to_bytes()));
    let definition = searched.and_then(|searched| process.find(&searched, &symbol, wanted.as_ref()));
    let name = Text::from(name);
    match (definition.map(|definition| process.value_of(&definition)), version) {
        (Some(Ok(value)), _) => return value.0 as *mut c_void,
        (Some(Err(errno)), _) => fail(format_args!("{name}: {}", errno_text(errno))),
        (None, None) => fail(format_args!("Symbol not found: {name}")),
        (None, Some(version)) => {
            fail(format_args!("Symbol not found: {name}, version {}", Text::from(version)));
        }
    }
    null_mut()
}

/// `dladdr`: which object and symbol an address belongs to. Returns 0 if it belongs to none.
///
/// # Safety
/// `info` points to room for a `Dl_info`.
pub unsafe extern "C" fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { dladdr1(address, info, null_mut(), 0) }
}

/// `dladdr1` (a GNU function that musl lacks): `dladdr`, and in `extra` the symbol's entry in the symbol table or the
/// object's link map.
///
/// # Safety
/// `info` points to room for a `Dl_info`, `extra` to room for a pointer if `flags` asks for one.
pub unsafe extern "C" fn dladdr1(
    address: *const c_void,
    info: *mut DlInfo,
    extra: *mut *const c_void,
    flags: c_int,
) -> c_int {
    let process = Process::get();
    if !process.complete() {
        return 0;
    }
    let address = Address(address as u64);
    let Some((map, object)) = process.described_at(address) else { return 0 };
    let found = lookup::symbol_at(object, address);
    let name = found.and_then(|(_, symbol)| object.symbols.string(u64::from(symbol.name)));
    let start = found.map(|(_, symbol)| object.address(symbol.vaddr()));
    let described = DlInfo {
        file_name: map.object().name.as_ptr(),
        file_base: map.object().mapping.pages.start.0 as *mut c_void,
        symbol_name: name.map_or(null(), CStr::as_ptr),
        symbol_address: start.map_or(null_mut(), |start| start.0 as *mut c_void),
    };
    let asked_for = match flags {
        RTLD_DL_SYMENT => {
            let entry = found.and_then(|(index, _)| object.symbols.raw_entry(index));
            Some(entry.map_or(null(), |entry| core::ptr::from_ref(entry).cast()))
        }
        RTLD_DL_LINKMAP => Some(handle(map).cast_const()),
        _ => None,
    };
    // SAFETY: the caller's promise.
    unsafe {
        info.write(described);
        if let Some(asked_for) = asked_for {
            extra.write(asked_for);
        }
    }
    1
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
pub(super) fn map_of(process: &Process, given: *mut c_void) -> Option<&'static LinkMap> {
    let map = process.debug.maps().find(|&map| handle(map) == given);
    if map.is_none() {
        // musl's `%p` shows a null pointer as "0".
        match given as usize {
            0 => fail(format_args!("Invalid library handle 0")),
            _ => fail(format_args!("Invalid library handle {given:p}")),
        }
    }
    map
}

/// Remembers why a call fails, for `dlerror`.
pub(super) fn fail(message: fmt::Arguments<'_>) {
    dynamic::set_failure(message);
}
