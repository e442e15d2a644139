// libpthread, libm, libdl and the like are libc whatever follows the dot, even if such files exist.
//#Spec: 10
//#Make: for n in c.so.6 pthread.so.0 rt.x m. dl.so.2 util.so xnet.so; do musl-gcc -shared -fPIC -o lib$n foo.c -Wl,-soname,lib$n; done
//#Prog: -Wl,./libc.so.6,./libpthread.so.0,./librt.x,./libm.,./libdl.so.2,./libutil.so,./libxnet.so
//#Expect: libc only
#include <stdio.h>
__attribute__((weak)) int foo(void);
int main(void) { puts(foo ? "a file was loaded" : "libc only"); }
//#File: foo.c
int foo(void) { return 0; }
