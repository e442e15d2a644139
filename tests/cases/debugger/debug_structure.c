// DT_DEBUG points to version 1 of the structure, consistent, with a list of the program and its libraries.
//#Spec: 59
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: version 1, state 0, brk set, base ok
//#Expect: program ./prog
//#Expect: library libfoo.so
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
extern Elf64_Dyn _DYNAMIC[];
extern const Elf64_Ehdr __ehdr_start;
int main(void) {
    struct r_debug *debug = 0;
    for (Elf64_Dyn *d = _DYNAMIC; d->d_tag; d++)
        if (d->d_tag == DT_DEBUG) debug = (void *)d->d_un.d_ptr;
    if (!debug) return 1;
    printf("version %d, state %d, brk %s, base %s\n", debug->r_version, debug->r_state, debug->r_brk ? "set" : "null",
           debug->r_ldbase && !memcmp((void *)debug->r_ldbase, ELFMAG, 4) ? "ok" : "wrong");
    struct link_map *map = debug->r_map;
    if (map->l_ld == _DYNAMIC) printf("program %s\n", map->l_name);
    for (map = map->l_next; map; map = map->l_next)
        if (strstr(map->l_name, "libfoo")) printf("library %s\n", strrchr(map->l_name, '/') + 1);
}
//#File: foo.c
int foo;
