// DT_FILTER and DT_AUXILIARY load nothing.
//#Spec: 36
//#Lib: libfoo.so = foo.c -Wl,-f,libnowhere.so -Wl,-F,libneither.so
//#Prog: -lfoo
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
