//! The functions of `<dlfcn.h>` and `<link.h>`, with musl's semantics and messages. libc's own know only the synthetic
//! object, so programs are bound to these.

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{null, null_mut};

use crate::bind::Accept;
use crate::elf::{Address, SymbolName};
use crate::program::{Object, ObjectId, Origin};
use crate::sys::Text;

use super::debug::LinkMap;
use super::{Process, failure, lookup};

pub use super::failure::dlerror;

/// `RTLD_NOLOAD`: succeed only if the object is loaded already.
const RTLD_NOLOAD: c_int = 4;
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

/// `dlopen` (POSIX), as far as the object is in the process already. Loading further objects comes with the running
/// program's loader; until then that fails with a message.
///
/// # Safety
/// `name` is null or a C string.
pub unsafe extern "C" fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void {
    let process = Process::get();
    if name.is_null() {
        return handle(process, ObjectId::PROGRAM);
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    if let Some(id) = process.find_loaded(name) {
        return handle(process, id);
    }
    let text = Text::from(name);
    if flags & RTLD_NOLOAD != 0 {
        failure::report(format_args!("Library {text} is not already loaded"));
    } else {
        failure::report(format_args!("Error loading shared library {text}: Function not implemented"));
    }
    null_mut()
}

/// `dlclose` (POSIX): nothing is ever unloaded.
pub extern "C" fn dlclose(handle: *mut c_void) -> c_int {
    c_int::from(object_of(Process::get(), handle).is_none())
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
        0 => process.scope.find(&symbol, Accept::AnyWithValue, 0),
        RTLD_NEXT => {
            let caller = process.object_at(Address(caller)).map_or(ObjectId::PROGRAM, |(id, _)| id);
            process.find_after(caller, &symbol)
        }
        _ => match object_of(process, handle) {
            Some(ObjectId::PROGRAM) => process.scope.find(&symbol, Accept::AnyWithValue, 0),
            Some(id) => process.find_from(id, &symbol),
            None => return null_mut(),
        },
    };
    match definition {
        Some(definition) => process.value_of(&definition).0 as *mut c_void,
        None => {
            failure::report(format_args!("Symbol not found: {}", Text::from(name)));
            null_mut()
        }
    }
}

/// `dladdr`: which object and symbol an address belongs to. Returns 0 if it belongs to none.
///
/// # Safety
/// `info` points to room for a `Dl_info`.
pub unsafe extern "C" fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int {
    let process = Process::get();
    let address = Address(address as u64);
    let Some((_, object)) = process.object_at(address) else { return 0 };
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
    if object_of(Process::get(), handle).is_none() {
        return -1;
    }
    if request != RTLD_DI_LINKMAP {
        failure::report(format_args!("Unsupported request {request}"));
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
    for (_, object) in process.program.visible() {
        let (headers, header_count) = object.program_headers.unwrap_or_default();
        let (tls_module, tls_data) = match object.tls {
            Some(tls) => {
                let block = crate::tls::x86_64::thread_pointer() - tls.offset;
                (tls.module as usize, block as *mut c_void)
            }
            None => (0, null_mut()),
        };
        let mut info = DlPhdrInfo {
            address: object.mapping.bias.0,
            name: object.name.as_ptr(),
            headers: headers.0 as *const c_void,
            header_count,
            additions: 0,
            removals: 0,
            tls_module,
            tls_data,
        };
        // SAFETY: the caller's promise.
        let result = unsafe { callback(&raw mut info, size_of::<DlPhdrInfo>(), data) };
        if result != 0 {
            return result;
        }
    }
    0
}

fn handle(process: &Process, id: ObjectId) -> *mut c_void {
    let map = process.debug.maps().find(|map| map.object == id);
    map.map_or(null_mut(), |map| core::ptr::from_ref(map).cast_mut().cast())
}

/// The object that a handle stands for; reports an invalid one (`__dl_invalid_handle`).
fn object_of(process: &Process, handle: *mut c_void) -> Option<ObjectId> {
    let map =
        process.debug.maps().find(|map| core::ptr::from_ref::<LinkMap>(map).cast() == handle.cast_const());
    if map.is_none() {
        failure::report(format_args!("Invalid library handle {handle:p}"));
    }
    map.map(|map| map.object)
}

impl Process {
    /// The loaded object that `dlopen(name)` would yield without searching.
    fn find_loaded(&self, name: &CStr) -> Option<ObjectId> {
        if crate::discover::search::is_libc(name.to_bytes()) {
            return self.program.libc();
        }
        let matches = |(id, object): &(ObjectId, &Object)| {
            self.program.notes(*id).short_name.as_deref() == Some(name)
                || (object.origin != Origin::Vdso && object.name.as_c_str() == name)
        };
        self.program.visible().skip(1).find(matches).map(|(id, _)| id)
    }
}
