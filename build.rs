//! How the loader binary is linked: a static-pie without a libc that exports a few symbols.

/// What programs and debuggers look for in a loader. `src/exports.rs` defines it.
const EXPORTS: &str = include_str!("exports.txt");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=loader.ld");
    let script = format!("-Wl,-T,{}/loader.ld", env!("CARGO_MANIFEST_DIR"));
    let arguments = [
        "-nostartfiles",
        "-nostdlib",
        "-static-pie",
        // `loader.ld` does what RELRO would do, for more than that.
        "-Wl,-z,now,-z,norelro,-z,noexecstack",
        &script,
        "-Wl,--hash-style=gnu",
        "-Wl,--build-id=sha1",
    ];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bin=ld-morsel={argument}");
    }
    for symbol in EXPORTS.lines() {
        println!("cargo:rustc-link-arg-bin=ld-morsel=-Wl,--export-dynamic-symbol={symbol}");
    }
}
