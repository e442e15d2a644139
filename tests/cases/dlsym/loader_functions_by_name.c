// The loader's functions are found by dlsym by each kind of handle, are those that the program itself calls, and work.
//#Spec: 54
//#Lib: libfoo.so = foo.c
//#Expect: 1111 1111 1111 1111
//#Expect: foo 5
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
static void *(*volatile open_address)(const char *, int) = dlopen;
int main(void) {
    static const char *names[] = { "dlopen", "dlsym", "dladdr", "dl_iterate_phdr" };
    void *own[] = { (void *)dlopen, (void *)dlsym, (void *)dladdr, (void *)dl_iterate_phdr };
    void *handles[] = { RTLD_DEFAULT, RTLD_NEXT, dlopen("libc.so", RTLD_NOW), dlopen("./libfoo.so", RTLD_NOW) };
    for (int h = 0; h < 4; h++) {
        for (int n = 0; n < 4; n++) printf("%d", dlsym(handles[h], names[n]) == own[n]);
        putchar(h < 3 ? ' ' : '\n');
    }
    void *(*open)(const char *, int) = (void *(*)(const char *, int))dlsym(handles[3], "dlopen");
    void *(*sym)(void *, const char *) = (void *(*)(void *, const char *))dlsym(handles[2], "dlsym");
    printf("foo %d\n", *(int *)sym(open("./libfoo.so", RTLD_NOW), "foo"));
}
//#File: foo.c
int foo = 5;
