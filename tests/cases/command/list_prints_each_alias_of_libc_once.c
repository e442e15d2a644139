// Each name by which libc is asked for is listed once.
//#Spec: 8, 10
//#Only: direct
//#Normalise: addresses
//#Make: for n in m.so pthread.so.0; do musl-gcc -shared -fPIC -o lib$n foo.c -nostdlib -Wl,-soname,lib$n; done
//#Lib: libfoo.so = foo.c -Wl,./libm.so,./libpthread.so.0
//#Prog: -Wl,./libm.so,./libpthread.so.0 -lfoo
//#Run: {ld} --list ./prog
//#Expect: \t$LD (0xADDR)
//#Expect: \tlibm.so => $LD (0xADDR)
//#Expect: \tlibpthread.so.0 => $LD (0xADDR)
//#Expect: \tlibfoo.so => ./libfoo.so (0xADDR)
//#Expect: \tlibc.so => $LD (0xADDR)
int main(void) {}
//#File: foo.c
int foo;
