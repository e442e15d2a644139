// A constructor that exits ends the process; its own destructor does not run, those of what is constructed do.
//#Spec: 49
//#Lib: libdep.so = dep.c
//#Lib: libfoo.so = foo.c -L. -ldep -Wl,-rpath,{dir}
//#Expect: exiting
//#Expect: -dep
//#Expect-exit: 3
#include <dlfcn.h>
int main(void) { dlopen("./libfoo.so", RTLD_NOW); }
//#File: dep.c
#include <stdio.h>
int dep(void) { return 3; }
__attribute__((constructor)) static void init(void) { }
__attribute__((destructor)) static void fini(void) { puts("-dep"); }
//#File: foo.c
#include <stdio.h>
#include <stdlib.h>
int dep(void);
__attribute__((constructor)) static void init(void) { puts("exiting"); exit(dep()); }
__attribute__((destructor)) static void fini(void) { puts("-foo"); }
