// dlclose returns 0, runs no destructor and unloads nothing; destructors run at exit. An invalid handle is an error.
//#Spec: 53
//#Lib: libfoo.so = foo.c
//#Expect: constructed
//#Expect: 0 0 0
//#Expect: still 5
//#Expect: 1 Invalid library handle 0xADDR
//#Expect: 1 Invalid library handle 0xADDR
//#Expect: handle is the same: 1
//#Expect: destructed
//#Normalise: addresses
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *h = dlopen("./libfoo.so", RTLD_NOW);
    int (*f)(void) = (int (*)(void))dlsym(h, "foo");
    printf("%d", dlclose(h));
    printf(" %d", dlclose(h));
    printf(" %d\n", dlclose(dlopen(0, RTLD_NOW)));
    printf("still %d\n", f());
    printf("%d ", dlclose(&h));
    puts(dlerror());
    printf("%d ", dlclose((char *)h + 8));
    puts(dlerror());
    printf("handle is the same: %d\n", dlopen("./libfoo.so", RTLD_NOW) == h);
}
//#File: foo.c
#include <stdio.h>
int foo(void) { return 5; }
__attribute__((constructor)) static void init(void) { puts("constructed"); }
__attribute__((destructor)) static void fini(void) { puts("destructed"); }
