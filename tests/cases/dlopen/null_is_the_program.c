// dlopen(NULL) is a handle of the program, the same each time, and finds what the program exports and libc's functions.
//#Spec: 51, 54
//#Prog: -rdynamic
//#Expect: same 1, own 1, libc 1
#include <dlfcn.h>
#include <stdio.h>
int own;
int main(void) {
    void *h = dlopen(0, RTLD_NOW);
    printf("same %d, own %d, libc %d\n", h == dlopen(0, RTLD_LAZY), dlsym(h, "own") == &own,
           dlsym(h, "puts") == (void *)puts);
}
