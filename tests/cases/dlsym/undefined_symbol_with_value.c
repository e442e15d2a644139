// In a program that is not position-independent, the address of a library's function is that of the program's PLT entry, for dlsym too.
//#Spec: 30, 54
//#Lib: libfoo.so = foo.c
//#Prog: -no-pie -fno-pie -rdynamic -lfoo
//#Expect: 1 1
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int foo(void);
void *address(void);
int main(void) {
    int (*volatile pointer)(void) = foo;
    printf("%d %d\n", dlsym(RTLD_DEFAULT, "foo") == (void *)pointer, address() == (void *)pointer);
}
//#File: foo.c
int foo(void) { return 1; }
void *address(void) { return (void *)foo; }
