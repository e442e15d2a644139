// dlinfo gives a link_map whose fields and chain are right, and refuses other requests.
//#Spec: 56
//#Lib: libfoo.so = foo.c
//#Lib: libbar.so = foo.c
//#Expect: 0: handle 1, ./libfoo.so, address 1, dynamic 1
//#Expect: next ./libbar.so, back 1, last 1, from the program 1
//#Expect: -1: Unsupported request 1
//#Expect: -1: Invalid library handle 0xADDR
//#Normalise: addresses
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
int main(void) {
    struct link_map *map = 0, *m;
    void *h = dlopen("./libfoo.so", RTLD_NOW), *g = dlopen("./libbar.so", RTLD_NOW);
    printf("%d: ", dlinfo(h, RTLD_DI_LINKMAP, &map));
    void *(*own)(void) = (void *(*)(void))dlsym(h, "own_dynamic");
    printf("handle %d, %s, address %d, dynamic %d\n", map == h, map->l_name,
           !((unsigned char *)map->l_addr)[0] || ((unsigned char *)map->l_addr)[1] == 'E', map->l_ld == own());
    for (m = dlopen(0, RTLD_NOW); m && m != map; m = m->l_next);
    printf("next %s, back %d, last %d, from the program %d\n", map->l_next->l_name, map->l_next->l_prev == map,
           map->l_next == g && !map->l_next->l_next, m == map);
    printf("%d: ", dlinfo(h, 1, &map));
    puts(dlerror());
    printf("%d: ", dlinfo(&map, RTLD_DI_LINKMAP, &map));
    puts(dlerror());
}
//#File: foo.c
extern char _DYNAMIC[] __attribute__((visibility("hidden")));
void *own_dynamic(void) { return _DYNAMIC; }
