// DF_BIND_NOW, DF_1_NOW and DT_BIND_NOW libraries must be bound at once, even with RTLD_LAZY.
//#Spec: 42
//#Lib: libnow.so = use.c -Wl,-z,now
//#Lib: libflags.so = use.c -Wl,-z,now
//#Lib: libflags1.so = use.c -Wl,-z,now
//#Lib: libold.so = use.c -Wl,-z,lazy
//#Patch: libflags.so dyn[0x6ffffffb].d_val = 0
//#Patch: libflags1.so dyn[30].d_val = 0
//#Expect: Error relocating ./libnow.so: def: symbol not found
//#Expect: Error relocating ./libflags.so: def: symbol not found
//#Expect: Error relocating ./libflags1.so: def: symbol not found
//#Expect: loaded
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    static const char *names[] = { "./libnow.so", "./libflags.so", "./libflags1.so", "./libold.so" };
    for (int i = 0; i < 4; i++) puts(dlopen(names[i], RTLD_LAZY) ? "loaded" : dlerror());
}
//#File: use.c
int def(void);
int use(void) { return def(); }
