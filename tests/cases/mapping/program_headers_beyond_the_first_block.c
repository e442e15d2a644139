// A library whose program headers lie at the end of the file is loaded.
//#Spec: 23
//#Lib: libfoo.so = foo.c
//#Make: cp libfoo.so moved.so && patchelf --set-rpath /a/rather/long/path/that/makes/patchelf/move/things/about libfoo.so
//#Prog: -lfoo
//#Expect: 42
#include <stdio.h>
int f(void);
int main(void) { printf("%d\n", f()); }
//#File: foo.c
int f(void) { return 42; }
