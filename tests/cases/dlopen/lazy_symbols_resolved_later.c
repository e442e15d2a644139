// With RTLD_LAZY, missing functions may stay open, and a later global library supplies them.
//#Spec: 42
//#Lib: libuse.so = use.c -Wl,-z,lazy -Wl,-z,norelro
//#Lib: libdef.so = def.c
//#Expect: Error relocating ./libuse.so: def: symbol not found
//#Expect: loaded, data 0
//#Expect: loaded
//#Expect: use 5, data 1 6
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    puts(dlopen("./libuse.so", RTLD_NOW) ? "loaded" : dlerror());
    void *h = dlopen("./libuse.so", RTLD_LAZY);
    printf("%s, ", h ? "loaded" : dlerror());
    int *(*data)(void) = (int *(*)(void))dlsym(h, "data_address");
    printf("data %d\n", data() != 0);
    puts(dlopen("./libdef.so", RTLD_LAZY | RTLD_GLOBAL) ? "loaded" : dlerror());
    printf("use %d, data %d %d\n", ((int (*)(void))dlsym(h, "use"))(), data() != 0, *data());
}
//#File: use.c
int def(void);
extern int data;
int use(void) { return def(); }
int *data_address(void) { return &data; }
//#File: def.c
int data = 6;
int def(void) { return 5; }
