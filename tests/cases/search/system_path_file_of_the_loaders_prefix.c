// The system path is read from <prefix>/etc/ld-musl-x86_64.path, with the prefix of PT_INTERP.
//#Spec: 17
//#Make: mkdir -p root/lib root/etc sys && ln -s {interp} root/lib/ld.so && printf 'nowhere\n{dir}/sys\n' > root/etc/ld-musl-x86_64.path
//#Lib: sys/libfoo.so = foo.c
//#Prog: -Lsys -lfoo -Wl,--dynamic-linker={dir}/root/lib/ld.so
//#Rpath: none
//#Run[interp]: ./prog
//#Run[direct]: {dir}/root/lib/ld.so ./prog
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
