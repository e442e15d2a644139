// A start-up constructor may dlopen; what it opens is constructed at once, even if a start-up library that it needs is not yet.
//#Spec: 47, 50
//#Lib: libplugin.so = plugin.c
//#Lib: libfoo.so = foo.c
//#Prog: -L. -Wl,--no-as-needed -lfoo
//#Expect: foo
//#Expect: plugin
//#Expect: opened
//#Expect: main
//#Expect: -plugin
//#Expect: -foo
#include <stdio.h>
int main(void) { puts("main"); }
//#File: plugin.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("plugin"); }
__attribute__((destructor)) static void fini(void) { puts("-plugin"); }
//#File: foo.c
#include <dlfcn.h>
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("foo"); puts(dlopen("./libplugin.so", RTLD_NOW) ? "opened" : dlerror()); }
__attribute__((destructor)) static void fini(void) { puts("-foo"); }
