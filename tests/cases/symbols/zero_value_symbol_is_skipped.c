// A defined symbol whose value is 0 does not match; the next library's does.
//#Spec: 30
//#Lib: libzero.so = zero.c
//#Patch: libzero.so sym[f].st_value = 0
//#Lib: libfoo.so = foo.c
//#Prog: -lzero -lfoo
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: zero.c
const char *f(void) { return "zero"; }
//#File: foo.c
const char *f(void) { return "foo"; }
