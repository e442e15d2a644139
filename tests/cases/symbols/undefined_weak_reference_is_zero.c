// A weak reference that nobody defines is null, as function, as data and in a library.
//#Spec: 35
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: 0 0 0
#include <stdio.h>
__attribute__((weak)) void function(void);
__attribute__((weak)) extern int data;
int library(void);
int main(void) { printf("%d %d %d\n", !!function, !!&data, library()); }
//#File: foo.c
__attribute__((weak)) void function(void);
int library(void) { return function != 0; }
