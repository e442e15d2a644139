// Only GOT and PLT slots may stay open: a pointer in data must be bound at once, even with RTLD_LAZY.
//#Spec: 42
//#Lib: libuse.so = use.c -Wl,-z,lazy
//#Expect: Error relocating ./libuse.so: def: symbol not found
#include <dlfcn.h>
#include <stdio.h>
int main(void) { puts(dlopen("./libuse.so", RTLD_LAZY) ? "loaded" : dlerror()); }
//#File: use.c
int def(void);
int (*pointer)(void) = def;
