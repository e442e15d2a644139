// Symbols of a local library are seen neither by RTLD_DEFAULT nor by later libraries; those of a global one by both.
//#Spec: 29, 51, 54
//#Lib: libdef.so = def.c
//#Lib: libuse.so = use.c
//#Expect: default 0
//#Expect: Error relocating ./libuse.so: def: symbol not found
//#Expect: default 1
//#Expect: use 5
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    dlopen("./libdef.so", RTLD_NOW | RTLD_LOCAL);
    printf("default %d\n", dlsym(RTLD_DEFAULT, "def") != 0);
    puts(dlopen("./libuse.so", RTLD_NOW) ? "loaded" : dlerror());
    dlopen("./libdef.so", RTLD_NOW | RTLD_GLOBAL);
    printf("default %d\n", dlsym(RTLD_DEFAULT, "def") != 0);
    void *h = dlopen("./libuse.so", RTLD_NOW);
    printf("use %d\n", ((int (*)(void))dlsym(h, "use"))());
}
//#File: def.c
int def(void) { return 5; }
//#File: use.c
int def(void);
int use(void) { return def(); }
