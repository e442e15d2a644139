// dlvsym finds each version of a symbol, by handle, by default and hidden ones, too; musl has no such function.
//#Spec: beyond
//#Beyond-musl: dlvsym is a GNU function
//#Lib: libv.so = v.c -Wl,--version-script=v.map
//#Prog: -lv
//#Expect[musl]: no dlvsym
//#Expect[morsel]: one
//#Expect[morsel]: two
//#Expect[morsel]: two
//#Expect[morsel]: Symbol not found: f, version V3
#include <dlfcn.h>
#include <stdio.h>
typedef void *(*dlvsym_function)(void *, const char *, const char *);
const char *f(void);
int main(void) {
    dlvsym_function dlvsym = (dlvsym_function)dlsym(RTLD_DEFAULT, "dlvsym");
    if (!dlvsym) { puts("no dlvsym"); return 0; }
    void *handle = dlopen("libv.so", RTLD_NOW);
    puts(((const char *(*)(void))dlvsym(handle, "f", "V1"))());
    puts(((const char *(*)(void))dlvsym(RTLD_DEFAULT, "f", "V2"))());
    puts(((const char *(*)(void))dlsym(RTLD_DEFAULT, "f"))());
    if (!dlvsym(handle, "f", "V3")) puts(dlerror());
}
//#File: v.c
const char *f1(void) { return "one"; }
const char *f2(void) { return "two"; }
__asm__(".symver f1, f@V1\n.symver f2, f@@V2");
//#File: v.map
V1 { global: f; local: *; };
V2 { global: f; } V1;
