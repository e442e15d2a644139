// Preloaded wrappers find libc's malloc, and the loader's own functions, by RTLD_NEXT.
//#Spec: 54
//#Lib: libwrap.so = wrap.c
//#Lib: libfoo.so = foo.c
//#Env[interp]: LD_PRELOAD=./libwrap.so
//#Ld-options: --preload ./libwrap.so
//#Expect: dlopen wrapped
//#Expect: foo 5, malloc wrapped 1
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    void *h = dlopen("./libfoo.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    void *volatile p = malloc(10);
    int *count = dlsym(RTLD_DEFAULT, "mallocs");
    printf("foo %d, malloc wrapped %d\n", *(int *)dlsym(h, "foo"), p && count && *count > 0);
}
//#File: foo.c
int foo = 5;
//#File: wrap.c
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stddef.h>
int mallocs;
void *malloc(size_t n) { mallocs++; return ((void *(*)(size_t))dlsym(RTLD_NEXT, "malloc"))(n); }
void *dlopen(const char *name, int flags) {
    puts("dlopen wrapped");
    return ((void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen"))(name, flags);
}
