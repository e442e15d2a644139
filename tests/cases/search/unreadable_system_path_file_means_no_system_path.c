// Without any path file (/etc is hidden) /usr/local/lib is searched; if the file is there and cannot be opened, nothing is.
//#Spec: 17
//#Make: mkdir -p root/lib root/etc && ln -s {interp} root/lib/ld.so && ln -s ld-musl-x86_64.path root/etc/ld-musl-x86_64.path
//#Make: mkdir -p none/lib && ln -s {interp} none/lib/ld.so
//#Lib: libunlikely.so = foo.c
//#Prog: -Wl,--dynamic-linker={dir}/root/lib/ld.so -lunlikely
//#Prog: prog2 = main.c -Wl,--dynamic-linker={dir}/none/lib/ld.so -lunlikely
//#Rpath: none
//#Only: interp
//#Run: unshare -m sh -c 'mount -t tmpfs none /etc; mount --bind {dir} /usr/local/lib; ./prog2; echo "exit $?"; ./prog; echo "exit $?"'
//#Expect: foo
//#Expect: exit 0
//#Expect: exit 127
//#Expect-err: Error loading shared library libunlikely.so: Symbolic link loop (needed by ./prog)
//#Expect-err: Error relocating ./prog: f: symbol not found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
