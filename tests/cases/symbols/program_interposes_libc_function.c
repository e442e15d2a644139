// A program that defines a libc function is used by the libraries; libc's own calls stay inside.
//#Spec: 28, 29
//#Lib: libfoo.so = foo.c
//#Prog: -rdynamic -lfoo -fno-builtin
//#Expect: program's atoi
#include <stdio.h>
int ask(void);
int atoi(const char *text) { return 99; }
int main(void) { puts(ask() == 99 ? "program's atoi" : "libc's atoi"); }
//#File: foo.c
int atoi(const char *);
int (*volatile function)(const char *) = atoi;
int ask(void) { return function("5"); }
