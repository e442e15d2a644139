// dladdr names the object and the nearest symbol that covers the address: functions, data, but no static function behind an exported one, no gap, no stack.
//#Spec: 55
//#Lib: libfoo.so = foo.s -nostdlib -Wl,-z,separate-code
//#Expect: exported: 1 ./libfoo.so base 1 exported+0
//#Expect: inside: 1 ./libfoo.so base 1 exported+3
//#Expect: behind: 1 ./libfoo.so base 1 -
//#Expect: data: 1 ./libfoo.so base 1 data+4
//#Expect: sizeless: 1 ./libfoo.so base 1 sizeless+9
//#Expect: header: 1 ./libfoo.so base 1 -
//#Expect: stack: 0
//#Expect: null: 0
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
static struct link_map *map;
static void show(const char *what, void *address) {
    Dl_info i;
    int found = dladdr(address, &i);
    printf("%s: %d", what, found);
    if (found) printf(" %s base %d ", i.dli_fname, i.dli_fbase == (void *)map->l_addr);
    if (found && i.dli_sname) printf("%s+%d", i.dli_sname, (int)((char *)address - (char *)i.dli_saddr));
    else if (found) printf("%s", i.dli_saddr ? "address" : "-");
    puts("");
}
int main(void) {
    map = dlopen("./libfoo.so", RTLD_NOW);
    if (!map) return puts(dlerror()), 1;
    char *exported = dlsym(map, "exported");
    show("exported", exported);
    show("inside", exported + 3);
    show("behind", exported + 4);
    show("data", (char *)dlsym(map, "data") + 4);
    show("sizeless", (char *)dlsym(map, "sizeless") + 9);
    show("header", (void *)(map->l_addr + 16));
    show("stack", &exported);
    show("null", 0);
}
//#File: foo.s
        .text
        .globl exported
        .type exported, @function
        .size exported, 4
exported: nop
        nop
        nop
        ret
hidden: nop
        nop
        nop
        ret
        .globl sizeless
        .type sizeless, @function
sizeless: .skip 32, 0x90
        .data
        .globl data
        .type data, @object
        .size data, 8
data:   .quad 1
        .section .note.GNU-stack,"",@progbits
