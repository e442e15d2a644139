// A constructor may dlopen, also the library that is being constructed; the inner one is constructed before the outer one is done.
//#Spec: 47, 50
//#Lib: libinner.so = inner.c
//#Lib: libouter.so = outer.c
//#Expect: outer begins
//#Expect: inner
//#Expect: inner opened 1, itself 1
//#Expect: outer ends
//#Expect: main
//#Expect: -inner
//#Expect: -outer
#include <dlfcn.h>
#include <stdio.h>
int main(void) { puts(dlopen("./libouter.so", RTLD_NOW) ? "main" : dlerror()); }
//#File: inner.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("inner"); }
__attribute__((destructor)) static void fini(void) { puts("-inner"); }
//#File: outer.c
#include <dlfcn.h>
#include <stdio.h>
__attribute__((constructor)) static void init(void) {
    puts("outer begins");
    void *h = dlopen("./libinner.so", RTLD_NOW);
    printf("inner opened %d, itself %d\n", h != 0, dlopen("./libouter.so", RTLD_NOW) != 0);
    puts("outer ends");
}
__attribute__((destructor)) static void fini(void) { puts("-outer"); }
