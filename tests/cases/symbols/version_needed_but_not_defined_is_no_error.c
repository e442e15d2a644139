// A version that the library no longer defines is no error.
//#Spec: 31
//#Lib: libfoo.so = foo.c -Wl,--version-script=v.map -Wl,-soname,libfoo.so
//#Prog: -lfoo
//#Lib: libfoo.so = foo.c -Wl,-soname,libfoo.so
//#Expect: found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "found"; }
//#File: v.map
V9 { global: f; local: *; };
