// dlinfo tells origin, search path and thread-local storage of an object, dladdr1 its symbol and link map.
//#Spec: beyond
//#Beyond-musl: musl's dlinfo knows only RTLD_DI_LINKMAP, and it has no dladdr1
//#Lib: libt.so = t.c
//#Prog: -lt
//#Expect[musl]: no dladdr1
//#Run[morsel]: LD_LIBRARY_PATH=/first:.:/last {start}
//#Expect[morsel]: origin .
//#Expect[morsel]: directory /first
//#Expect[morsel]: directory .
//#Expect[morsel]: directory /last
//#Expect[morsel]: tls 1 1
//#Expect[morsel]: symbol f 1 1
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
typedef int (*dladdr1_function)(const void *, Dl_info *, void **, int);
struct serpath { char *name; unsigned flags; };
struct serinfo { size_t size; unsigned count; struct serpath paths[]; };
int *f(void);
int main(void) {
    dladdr1_function dladdr1 = (dladdr1_function)dlsym(RTLD_DEFAULT, "dladdr1");
    if (!dladdr1) { puts("no dladdr1"); return 0; }
    void *handle = dlopen("libt.so", RTLD_NOW);
    char origin[4096];
    dlinfo(handle, 6, origin);
    printf("origin %s\n", origin);
    struct serinfo head;
    dlinfo(handle, 5, &head);
    struct serinfo *info = malloc(head.size);
    *info = head;
    dlinfo(handle, 4, info);
    for (unsigned i = 0; i < 3; i++) printf("directory %s\n", info->paths[i].name);
    size_t module = 0;
    void *data = 0;
    dlinfo(handle, 9, &module);
    dlinfo(handle, 10, &data);
    printf("tls %d %d\n", module > 0, data <= (void *)f() && (char *)f() < (char *)data + 8);
    Dl_info found;
    Elf64_Sym *symbol;
    struct link_map *map;
    dladdr1((void *)((char *)dlsym(handle, "f") + 1), &found, (void **)&symbol, 1);
    dladdr1((void *)dlsym(handle, "f"), &found, (void **)&map, 2);
    printf("symbol %s %d %d\n", found.dli_sname, symbol->st_size > 1, map == handle);
}
//#File: t.c
_Thread_local int value;
int *f(void) { return &value; }
