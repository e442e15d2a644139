// What is loaded is bound to the global scope first, then to its own group, breadth first; another group's symbols are not seen.
//#Spec: 28, 51
//#Lib: libdep.so = dep.c
//#Lib: libtop.so = top.c -L. -ldep -Wl,-rpath,{dir}
//#Lib: libother.so = other.c
//#Prog: -rdynamic
//#Expect: in_program: program, in_group: top, in_dep: dep
#include <dlfcn.h>
#include <stdio.h>
const char *in_program(void) { return "program"; }
int main(void) {
    dlopen("./libother.so", RTLD_NOW);
    void *h = dlopen("./libtop.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    ((void (*)(void))dlsym(h, "show"))();
}
//#File: dep.c
#include <stdio.h>
const char *in_program(void) { return "dep"; }
const char *in_group(void) { return "dep"; }
const char *in_dep(void) { return "dep"; }
void show_dep(void) { printf("in_program: %s, in_group: %s, in_dep: %s\n", in_program(), in_group(), in_dep()); }
//#File: top.c
void show_dep(void);
const char *in_program(void) { return "top"; }
const char *in_group(void) { return "top"; }
void show(void) { show_dep(); }
//#File: other.c
const char *in_program(void) { return "other"; }
const char *in_group(void) { return "other"; }
const char *in_dep(void) { return "other"; }
