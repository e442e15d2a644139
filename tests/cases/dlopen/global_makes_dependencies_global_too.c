// RTLD_GLOBAL makes the dependencies global, breadth first behind the library, also when they were local before.
//#Spec: 51
//#Lib: libdep.so = dep.c
//#Lib: libtop.so = top.c -L. -ldep -Wl,-rpath,{dir}
//#Expect: 0 0
//#Expect: 1 top
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    dlopen("./libdep.so", RTLD_NOW);
    dlopen("./libtop.so", RTLD_NOW);
    printf("%d %d\n", dlsym(RTLD_DEFAULT, "dep") != 0, dlsym(RTLD_DEFAULT, "both") != 0);
    dlopen("./libtop.so", RTLD_NOW | RTLD_GLOBAL);
    printf("%d %s\n", dlsym(RTLD_DEFAULT, "dep") != 0, *(char **)dlsym(RTLD_DEFAULT, "both"));
}
//#File: dep.c
const char *both = "dep";
int dep(void) { return 1; }
//#File: top.c
const char *both = "top";
int dep(void);
int top(void) { return dep(); }
