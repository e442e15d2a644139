// A library loaded at start-up is found by its short name and by path, and is not constructed again; libc's names are libc.
//#Spec: 10, 12, 19
//#Lib: libfoo.so = foo.c
//#Prog: -L. -lfoo
//#Expect: constructed
//#Expect: 1 1, libc 1 1 1 1
#include <dlfcn.h>
#include <stdio.h>
extern int foo;
int main(void) {
    void *h = dlopen("libfoo.so", RTLD_NOW | RTLD_NOLOAD), *c = dlopen("libc.so", RTLD_NOW);
    printf("%d %d, ", h == dlopen("./libfoo.so", RTLD_NOW), dlsym(h, "foo") != 0 && foo == 0);
    printf("libc %d %d %d %d\n", c == dlopen("libpthread.so.0", RTLD_NOW), c == dlopen("libm.so.6", RTLD_NOW),
           c == dlopen("libc.musl-x86_64.so.1", RTLD_NOW), dlsym(c, "puts") == (void *)puts);
}
//#File: foo.c
#include <stdio.h>
int foo;
__attribute__((constructor)) static void init(void) { puts("constructed"); }
