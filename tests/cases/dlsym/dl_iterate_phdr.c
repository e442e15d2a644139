// dl_iterate_phdr shows every object in load order with counters and thread-local storage, stops when told, and allows dlopen inside.
//#Spec: 57
//#Lib: libplain.so = plain.c
//#Lib: libtls.so = tls.c
//#Lib: libtls2.so = tls.c -DX
//#Expect: adds 0 subs 0
//#Expect: ./libplain.so: adds 4, tls 0 0
//#Expect: ./libtls.so: adds 4, tls 1 7
//#Expect: stopped: 9 after 1
//#Expect: opened inside: 1, seen 1
//#Expect: size 64
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
static int calls, seen;
static int first(struct dl_phdr_info *i, size_t size, void *data) {
    printf("adds %llu subs %llu\n", i->dlpi_adds, i->dlpi_subs);
    return 1;
}
static int show(struct dl_phdr_info *i, size_t size, void *data) {
    if (!strncmp(i->dlpi_name, "./lib", 5))
        printf("%s: adds %llu, tls %d %d\n", i->dlpi_name, i->dlpi_adds, (int)i->dlpi_tls_modid, i->dlpi_tls_data ? *(int *)i->dlpi_tls_data : 0);
    return 0;
}
static int stop(struct dl_phdr_info *i, size_t size, void *data) { calls++; *(size_t *)data = size; return 9; }
static int open_inside(struct dl_phdr_info *i, size_t size, void *data) {
    if (!*(void **)data) *(void **)data = dlopen("./libtls2.so", RTLD_NOW);
    seen += !strcmp(i->dlpi_name, "./libtls2.so");
    return 0;
}
int main(void) {
    size_t size;
    void *h = 0;
    dl_iterate_phdr(first, 0);
    dlopen("./libplain.so", RTLD_NOW);
    dlopen("./libplain.so", RTLD_NOW);
    dlopen("./libplain.so", RTLD_NOW | RTLD_NOLOAD);
    dlopen("./missing.so", RTLD_NOW);
    dlopen("./libtls.so", RTLD_NOW);
    dl_iterate_phdr(show, 0);
    int result = dl_iterate_phdr(stop, &size);
    printf("stopped: %d after %d\n", result, calls);
    dl_iterate_phdr(open_inside, &h);
    printf("opened inside: %d, seen %d\n", h != 0, seen);
    printf("size %zu\n", size);
}
//#File: plain.c
int plain;
//#File: tls.c
_Thread_local int variable = 7;
