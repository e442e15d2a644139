// An atexit handler can dlopen; a destructor can not.
//#Spec: 49, 50
//#Lib: libfoo.so = foo.c
//#Lib: libbar.so = bar.c
//#Expect: +foo
//#Expect: handler: opened
//#Expect: -foo
//#Expect: program's destructor: Cannot dlopen while program is exiting.
//#Expect: NULL: 1
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
static void handler(void) { printf("handler: %s\n", dlopen("./libfoo.so", RTLD_NOW) ? "opened" : dlerror()); }
__attribute__((destructor)) static void fini(void) {
    printf("program's destructor: %s\n", dlopen("./libbar.so", RTLD_NOW) ? "opened" : dlerror());
    printf("NULL: %d\n", dlopen(0, RTLD_NOW) != 0);
}
int main(void) { atexit(handler); }
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("+foo"); }
__attribute__((destructor)) static void fini(void) { puts("-foo"); }
//#File: bar.c
int bar;
