// A definition whose version index has the high bit is not found; the next library's is.
//#Spec: 31
//#Lib: libfoo.so = foo.c -Wl,--version-script=v.map
//#Patch: libfoo.so versym[f] |= 0x8000
//#Lib: libbar.so = bar.c
//#Prog: -lfoo -lbar
//#Expect: bar, g of foo
#include <stdio.h>
const char *f(void), *g(void);
int main(void) { printf("%s, %s\n", f(), g()); }
//#File: foo.c
const char *f(void) { return "foo"; }
const char *g(void) { return "g of foo"; }
//#File: v.map
V1 { global: f; g; };
//#File: bar.c
const char *f(void) { return "bar"; }
const char *g(void) { return "g of bar"; }
