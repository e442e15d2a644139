// A DT_SYMBOLIC tag does not make a library prefer its own definition.
//#Spec: 36
//#Lib: libfoo.so = foo.c -Wl,-soname,libfoo.so
//#Patch: libfoo.so dyn[DT_SONAME].d_tag = 16
//#Prog: -rdynamic -lfoo
//#Expect: program
#include <stdio.h>
const char *f(void) { return "program"; }
const char *ask(void);
int main(void) { puts(ask()); }
//#File: foo.c
const char *f(void) { return "foo"; }
const char *ask(void) { return f(); }
