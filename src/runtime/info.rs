//! `dlinfo`: facts about a loaded object. musl knows one request, `RTLD_DI_LINKMAP`; the others are those of glibc and
//! Solaris, with the layouts of glibc's `<dlfcn.h>`.

use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_uint, c_void};

use crate::discover::{Discovery, search};
use crate::program::{ObjectId, Origin};

use super::api::{fail, map_of};
use super::{LinkMap, Loader, Process, lookup};

const RTLD_DI_LINKMAP: c_int = 2;
const RTLD_DI_SERINFO: c_int = 4;
const RTLD_DI_SERINFOSIZE: c_int = 5;
const RTLD_DI_ORIGIN: c_int = 6;
const RTLD_DI_TLS_MODID: c_int = 9;
const RTLD_DI_TLS_DATA: c_int = 10;

/// `Dl_serinfo` up to its array.
#[repr(C)]
struct SearchInfo {
    size: usize,
    count: c_uint,
}

/// `Dl_serpath`.
#[repr(C)]
struct SearchEntry {
    name: *mut c_char,
    flags: c_uint,
}

/// `dlinfo`. Returns 0, or -1 and a message for `dlerror`.
///
/// # Safety
/// `result` points to room for what `request` yields; for `RTLD_DI_SERINFO`, to as much as `RTLD_DI_SERINFOSIZE` has said, filled
/// in by it.
pub unsafe extern "C" fn dlinfo(handle: *mut c_void, request: c_int, result: *mut c_void) -> c_int {
    let process = Process::get();
    let Some(map) = map_of(process, handle) else { return -1 };
    // SAFETY: the caller's promise.
    unsafe {
        match request {
            RTLD_DI_LINKMAP => result.cast::<*mut c_void>().write(handle),
            RTLD_DI_TLS_MODID => {
                result.cast::<usize>().write(map.object().tls.map_or(0, |tls| tls.module as usize));
            }
            RTLD_DI_TLS_DATA => {
                let block = lookup::thread_block(map.object()).unwrap_or_default();
                result.cast::<*mut c_void>().write(block.0 as *mut c_void);
            }
            RTLD_DI_ORIGIN => write_origin(result.cast(), map),
            RTLD_DI_SERINFOSIZE | RTLD_DI_SERINFO => {
                // Who needs the object tells where to search.
                if !process.complete() {
                    return -1;
                }
                let mut loader = match process.loader.change_briefly() {
                    Ok(loader) => loader,
                    Err(refusal) => {
                        fail(format_args!("{refusal}"));
                        return -1;
                    }
                };
                let directories = loader.search_directories(map.id());
                write_search_info(result.cast(), &directories, request == RTLD_DI_SERINFO);
            }
            _ => {
                fail(format_args!("Unsupported request {request}"));
                return -1;
            }
        }
    }
    0
}

impl Loader {
    /// Where libraries are searched for that an object needs.
    fn search_directories(&mut self, id: ObjectId) -> Vec<Vec<u8>> {
        Discovery::new(&mut self.system, &mut self.program, &mut self.search).directories(id)
    }
}

/// Writes the directory that an object was loaded from.
///
/// # Safety
/// There is room.
unsafe fn write_origin(to: *mut u8, map: &LinkMap) {
    let mut buffer = [0; search::CANDIDATE_BUFFER];
    let path = match map.object().origin {
        Origin::Kernel => crate::sys::read_link(c"/proc/self/exe", &mut buffer).ok(),
        _ => None,
    };
    let directory = search::directory_of(path.unwrap_or(map.object().name.to_bytes()));
    // SAFETY: passed on to the caller.
    unsafe { write_string(to, directory) };
}

/// # Safety
/// There is room.
unsafe fn write_string(to: *mut u8, text: &[u8]) {
    // SAFETY: passed on to the caller.
    unsafe {
        core::ptr::copy_nonoverlapping(text.as_ptr(), to, text.len());
        to.add(text.len()).write(0);
    }
}

/// Writes size and count, and if wanted the entries with their strings behind them.
///
/// # Safety
/// There is room.
unsafe fn write_search_info(to: *mut SearchInfo, directories: &[Vec<u8>], with_entries: bool) {
    let strings: usize = directories.iter().map(|directory| directory.len() + 1).sum();
    let array = size_of::<SearchInfo>() + directories.len() * size_of::<SearchEntry>();
    // SAFETY: passed on to the caller.
    unsafe {
        to.write(SearchInfo { size: array + strings, count: directories.len() as c_uint });
        if with_entries {
            let mut entry = to.add(1).cast::<SearchEntry>();
            let mut text = to.cast::<u8>().add(array);
            for directory in directories {
                entry.write(SearchEntry { name: text.cast(), flags: 0 });
                write_string(text, directory);
                text = text.add(directory.len() + 1);
                entry = entry.add(1);
            }
        }
    }
}
