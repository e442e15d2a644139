// Without memory for one more library dlopen fails, and the program goes on.
//#Spec: 51, 52
//#Lib: liblarge.so = large.c
//#Expect: Error loading shared library ./liblarge.so: Out of memory
//#Expect: alive
#include <dlfcn.h>
#include <stdio.h>
#include <sys/resource.h>
int main(void) {
    struct rlimit limit = { 64 << 20, 64 << 20 };
    setrlimit(RLIMIT_AS, &limit);
    for (int i = 0; i < 3; i++)
        if (dlopen("./liblarge.so", RTLD_NOW)) puts("opened");
    puts(dlerror());
    puts("alive");
}
//#File: large.c
char large[256 << 20];
