// RTLD_NEXT from a library loaded later sees what was loaded after it, and no more if that is local.
//#Spec: 54
//#Lib: libone.so = lib.c -DN=1
//#Lib: libtwo.so = lib.c -DN=2
//#Lib: libthree.so = lib.c -DN=3
//#Lib: libfour.so = none.c
//#Expect: one: 2
//#Expect: two: none
//#Expect: three: none
#include <dlfcn.h>
#include <stdio.h>
static void show(const char *name, void *h) {
    int *(*next)(void) = (int *(*)(void))dlsym(h, "next");
    int *value = next();
    if (value) printf("%s: %d\n", name, *value); else printf("%s: none\n", name);
}
int main(void) {
    void *one = dlopen("./libone.so", RTLD_NOW), *two = dlopen("./libtwo.so", RTLD_NOW);
    dlopen("./libfour.so", RTLD_NOW);
    void *three = dlopen("./libthree.so", RTLD_NOW);
    show("one", one), show("two", two), show("three", three);
}
//#File: lib.c
#define _GNU_SOURCE
#include <dlfcn.h>
int value = N;
int *next(void) { int *p = dlsym(RTLD_NEXT, "value"); return p; }
//#File: none.c
int none;
