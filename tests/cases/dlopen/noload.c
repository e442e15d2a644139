// RTLD_NOLOAD finds what is loaded, fails otherwise, and with RTLD_GLOBAL makes a local library global.
//#Spec: 51
//#Lib: libfoo.so = foo.c
//#Expect: Library ./libfoo.so is not already loaded
//#Expect: Library missing.so is not already loaded
//#Expect: same 1, default 0
//#Expect: same 1, default 0
//#Expect: same 1, default 1
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    puts(dlopen("./libfoo.so", RTLD_NOW | RTLD_NOLOAD) ? "loaded" : dlerror());
    puts(dlopen("missing.so", RTLD_NOW | RTLD_NOLOAD) ? "loaded" : dlerror());
    void *h = dlopen("./libfoo.so", RTLD_NOW);
    for (int i = 0; i < 3; i++) {
        void *g = dlopen("./libfoo.so", RTLD_NOW | (i ? RTLD_NOLOAD : 0) | (i == 2 ? RTLD_GLOBAL : 0));
        printf("same %d, default %d\n", g == h, dlsym(RTLD_DEFAULT, "foo") != 0);
    }
}
//#File: foo.c
int foo;
