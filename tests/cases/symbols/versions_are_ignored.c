// A reference to f@V1 binds to the default f@@V2: versions are not compared.
//#Spec: 31
//#Lib: libfoo.so = old.c -Wl,--version-script=v1.map -Wl,-soname,libfoo.so
//#Prog: -lfoo
//#Lib: libfoo.so = new.c -Wl,--version-script=v12.map -Wl,-soname,libfoo.so
//#Expect: V2
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: old.c
const char *f(void) { return "V1"; }
//#File: v1.map
V1 { global: f; local: *; };
//#File: new.c
const char *f1(void) { return "V1"; }
const char *f2(void) { return "V2"; }
__asm__(".symver f1, f@V1");
__asm__(".symver f2, f@@V2");
//#File: v12.map
V1 { global: f; local: *; };
V2 { global: f; } V1;
