//! How the loader binary is linked: a static-pie without a libc that exports a few symbols.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=sealed.ld");
    let script = format!("-Wl,-T,{}/sealed.ld", env!("CARGO_MANIFEST_DIR"));
    let arguments = [
        "-nostartfiles",
        "-nostdlib",
        "-static-pie",
        // `sealed.ld` does what RELRO would do, for more than that.
        "-Wl,-z,now,-z,norelro,-z,noexecstack,-z,separate-loadable-segments,--no-rosegment",
        &script,
        "-Wl,--hash-style=gnu",
        "-Wl,--build-id=sha1",
    ];
    let exports = [
        "dlopen",
        "dlsym",
        "dlclose",
        "dlerror",
        "dladdr",
        "dlinfo",
        "dlvsym",
        "dladdr1",
        "dl_iterate_phdr",
        "__tls_get_addr",
        "__libc_start_main",
        "_dl_debug_state",
        "_dl_debug_addr",
    ];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bin=ld-morsel={argument}");
    }
    for symbol in exports {
        println!("cargo:rustc-link-arg-bin=ld-morsel=-Wl,--export-dynamic-symbol={symbol}");
    }
}
