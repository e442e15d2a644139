// Initial-exec access in a dlopened library whose variables do not fit into what is kept for such libraries is an error.
//#Spec: 39
//#Lib: libfoo.so = foo.c -ftls-model=initial-exec
//#Prog:
//#Expect: Error relocating ./libfoo.so: value: initial-exec TLS resolves to dynamic definition in ./libfoo.so
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    if (!dlopen("./libfoo.so", RTLD_NOW)) puts(dlerror());
}
//#File: foo.c
__thread int value[1 << 16];
int *get(void) { return value; }
