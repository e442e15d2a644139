// RTLD_DEFAULT finds the first definition in the global scope, a handle its own or that of its dependencies breadth first, RTLD_NEXT the one behind the caller.
//#Spec: 54
//#Lib: libleaf.so = leaf.c
//#Lib: libleft.so = left.c -lleaf
//#Lib: libright.so = right.c
//#Lib: libtop.so = top.c -lleft -lright
//#Prog: -rdynamic -ltop -lright
//#Expect: default: program
//#Expect: top: right, left: leaf
//#Expect: next of program: right
//#Expect: next of right: leaf
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
const char *who(void) { return "program"; }
const char *next_of_right(void), *top(void);
typedef const char *(*function)(void);
int main(void) {
    printf("default: %s\n", ((function)dlsym(RTLD_DEFAULT, "who"))());
    printf("top: %s, ", ((function)dlsym(dlopen("libtop.so", RTLD_NOW), "who"))());
    printf("left: %s\n", ((function)dlsym(dlopen("libleft.so", RTLD_NOW), "who"))());
    printf("next of program: %s\n", ((function)dlsym(RTLD_NEXT, "who"))());
    printf("next of right: %s\n", next_of_right());
}
//#File: leaf.c
const char *who(void) { return "leaf"; }
//#File: left.c
const char *who(void);
const char *left(void) { return who(); }
//#File: right.c
#define _GNU_SOURCE
#include <dlfcn.h>
const char *who(void) { return "right"; }
const char *next_of_right(void) { return ((const char *(*)(void))dlsym(RTLD_NEXT, "who"))(); }
//#File: top.c
const char *left(void);
const char *top(void) { return left(); }
