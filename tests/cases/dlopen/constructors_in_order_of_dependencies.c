// Constructors run inside dlopen, dependencies first, each once; destructors at exit in reverse, before those of start-up.
//#Spec: 47, 49
//#Lib: libc3.so = c.c -DN='"leaf"'
//#Lib: libc2.so = c.c -DN='"middle"' -L. -Wl,--no-as-needed -lc3 -Wl,-rpath,{dir}
//#Lib: libc1.so = c.c -DN='"top"' -L. -Wl,--no-as-needed -lc3 -lc2 -Wl,-rpath,{dir}
//#Lib: libstart.so = c.c -DN='"start"'
//#Prog: -L. -Wl,--no-as-needed -lstart
//#Expect: +start
//#Expect: main
//#Expect: +leaf
//#Expect: +middle
//#Expect: +top
//#Expect: opened
//#Expect: atexit
//#Expect: -top
//#Expect: -middle
//#Expect: -leaf
//#Expect: -start
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
static void handler(void) { puts("atexit"); }
int main(void) {
    atexit(handler);
    puts("main");
    puts(dlopen("./libc1.so", RTLD_NOW) && dlopen("./libc2.so", RTLD_NOW) ? "opened" : dlerror());
}
//#File: c.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("+" N); }
__attribute__((destructor)) static void fini(void) { puts("-" N); }
