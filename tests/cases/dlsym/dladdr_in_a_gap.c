// An address between two segments belongs to no object.
//#Spec: 55
//#Lib: libfoo.so = foo.c -Wl,-z,max-page-size=0x200000,-z,separate-code
//#Expect: 1 0 1
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    Dl_info i;
    void *h = dlopen("./libfoo.so", RTLD_NOW);
    char *code = dlsym(h, "code"), *data = dlsym(h, "data");
    printf("%d %d %d\n", dladdr(code, &i), dladdr((char *)(((unsigned long)code | 0xfffff) + 1), &i), dladdr(data, &i));
}
//#File: foo.c
int data = 1;
int code(void) { return 1; }
