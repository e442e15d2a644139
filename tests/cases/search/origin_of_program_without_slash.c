// In direct mode a program name without slash is opened in the working directory, and its origin is ".".
//#Spec: 7, 18
//#Only: direct
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: {ld} prog
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
