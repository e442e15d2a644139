// Each link_map of the chain is a handle: of start-up libraries, of libc and of libraries loaded as dependencies.
//#Spec: 54, 56
//#Lib: libdep.so = dep.c
//#Lib: libtop.so = top.c -ldep -Wl,-rpath,{dir}
//#Lib: libstart.so = start.c
//#Prog: -lstart
//#Expect: start 1
//#Expect: dep 1
//#Expect: top's dependency 1
//#Expect: libc 1
//#Expect: closed 0 0 0 0 0 0
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    struct link_map *map, *all;
    dlopen("./libtop.so", RTLD_NOW);
    dlinfo(dlopen(0, RTLD_NOW), RTLD_DI_LINKMAP, &all);
    int libc = 0, start = 0, dep = 0, top = 0;
    for (map = all; map; map = map->l_next) {
        if (strstr(map->l_name, "libstart.so")) start = dlsym(map, "start") != 0;
        else if (strstr(map->l_name, "libdep.so")) dep = dlsym(map, "dep") != 0 && !dlsym(map, "top");
        else if (strstr(map->l_name, "libtop.so")) top = dlsym(map, "dep") != 0;
        else if (map != all && dlsym(map, "puts") == (void *)puts) libc = 1;
    }
    printf("start %d\ndep %d\ntop's dependency %d\nlibc %d\nclosed", start, dep, top, libc);
    for (map = all; map; map = map->l_next) printf(" %d", dlclose(map));
    puts("");
}
//#File: dep.c
int dep = 1;
//#File: top.c
extern int dep;
int *top(void) { return &dep; }
//#File: start.c
int start = 1;
