// What dlopen and dlinfo return tells where an object's dynamic section is, whatever debuggers are shown.
//#Spec: 59
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: same
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
int foo(void);
static struct link_map *map;
static int compare(struct dl_phdr_info *info, size_t size, void *data) {
    if (!strstr(info->dlpi_name, "libfoo")) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            puts((char *)map->l_ld == (char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr ? "same" : "different");
    return 1;
}
int main(void) {
    dlinfo(dlopen("libfoo.so", RTLD_NOW | RTLD_NOLOAD), RTLD_DI_LINKMAP, &map);
    dl_iterate_phdr(compare, 0);
    return foo();
}
//#File: foo.c
int foo(void) { return 0; }
