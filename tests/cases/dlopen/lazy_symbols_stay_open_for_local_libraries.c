// A local library does not supply what another one lacks; once it is promoted, it does.
//#Spec: 42, 51
//#Lib: libuse.so = use.c -Wl,-z,lazy -Wl,-z,norelro
//#Lib: libdef.so = def.c
//#Expect: 0
//#Expect: 0
//#Expect: 1
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *h = dlopen("./libuse.so", RTLD_LAZY);
    void *(*address)(void) = (void *(*)(void))dlsym(h, "address");
    printf("%d\n", address() != 0);
    dlopen("./libdef.so", RTLD_NOW);
    printf("%d\n", address() != 0);
    dlopen("./libdef.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    printf("%d\n", address() != 0);
}
//#File: use.c
extern int data;
void *address(void) { return &data; }
//#File: def.c
int data = 6;
