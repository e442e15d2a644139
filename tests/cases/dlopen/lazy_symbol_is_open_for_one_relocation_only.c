// A symbol whose table entry may stay open is still an error where a pointer in data names it right behind.
//#Spec: 51
//#Lib: liblazy.so = lazy.c -Wl,-z,lazy
//#Expect: Error relocating ./liblazy.so: undefined_name: symbol not found
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    puts(dlopen("./liblazy.so", RTLD_LAZY) ? "loaded" : dlerror());
}
//#File: lazy.c
extern int open_variable __asm__("undefined_name");
int *pointer = &open_variable;
int use(void) { return open_variable; }
