# Runs before each package's script (packages.toml); the caller sets D (the corpus), H (this folder) and J (jobs).
# Prepares the prefix P and the compiler CC = $P/bin/mcc, a musl-gcc that finds headers and libraries of the prefix.
set -eu
P=$D/root
mkdir -p "$P/bin" "$P/lib" "$P/include" "$P/share" "$D/kinc"
# The kernel's headers, which musl-gcc does not search.
for h in linux asm-generic mtd; do ln -sfn /usr/include/$h "$D/kinc/$h"; done
ln -sfn /usr/include/x86_64-linux-gnu/asm "$D/kinc/asm"
cmp -s "$H/mcc" "$P/bin/mcc" || install -m 755 "$H/mcc" "$P/bin/mcc"
export CC=$P/bin/mcc CFLAGS="-O1 -fPIC" MAKEFLAGS=
export PKG_CONFIG_PATH=$P/lib/pkgconfig PKG_CONFIG_LIBDIR=$P/lib/pkgconfig
export ac_cv_func_malloc_0_nonnull=yes
autoconf_build() { ./configure --prefix="$P" --disable-static --enable-shared "$@"; make -j"$J"; make install; }
