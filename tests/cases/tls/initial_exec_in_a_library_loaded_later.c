// A library loaded at run time may not use the initial-exec model for its own variables.
//#Spec: 39
//#Lib: libfoo.so = foo.c -ftls-model=initial-exec
//#Expect: Error relocating ./libfoo.so: value: initial-exec TLS resolves to dynamic definition in ./libfoo.so
#include <dlfcn.h>
#include <stdio.h>
int main(void) { puts(dlopen("./libfoo.so", RTLD_NOW) ? "loaded" : dlerror()); }
//#File: foo.c
_Thread_local int value = 1;
int f(void) { return value; }
