// Indirect functions of a library loaded at run time work, within it and by dlsym; musl finds no such symbol.
//#Spec: beyond
//#Beyond-musl: musl knows no STT_GNU_IFUNC
//#Lib: libifunc.so = ifunc.c
//#Unchecked[musl]: unsupported
//#Expect[morsel]: inside 7, by dlsym 7
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *h = dlopen("./libifunc.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    printf("inside %d, ", ((int (*)(void))dlsym(h, "call"))());
    printf("by dlsym %d\n", ((int (*)(void))dlsym(h, "chosen"))());
}
//#File: ifunc.c
static int seven = 7, *pointer = &seven;
static int variant(void) { return *pointer; }
static int (*resolve(void))(void) { return *pointer == 7 ? variant : 0; }
int chosen(void) __attribute__((ifunc("resolve")));
int call(void) { return chosen(); }
