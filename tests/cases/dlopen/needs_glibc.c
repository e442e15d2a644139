// A library that was linked against glibc gets a musl libc for libc.so.6; what musl lacks is reported.
//#Spec: 10, 35
//#Make: gcc -shared -fPIC -O1 -o libfine.so fine.c; gcc -shared -fPIC -O1 -o libglibc.so glibc.c
//#Beyond-musl: the message explains
//#Expect-match: fine: loaded
//#Expect-match[musl]: Error relocating ./libglibc.so: gnu_get_libc_version: symbol not found
//#Expect-match[morsel]: libglibc.so.*glibc
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    printf("fine: %s\n", dlopen("./libfine.so", RTLD_NOW) ? "loaded" : dlerror());
    puts(dlopen("./libglibc.so", RTLD_NOW) ? "loaded" : dlerror());
}
//#File: fine.c
int puts(const char *);
void hello(void) { puts("hello"); }
//#File: glibc.c
const char *gnu_get_libc_version(void);
const char *version(void) { return gnu_get_libc_version(); }
