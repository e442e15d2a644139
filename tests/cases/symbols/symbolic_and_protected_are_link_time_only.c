// -Bsymbolic and protected symbols bind inside at link time; the loader pays no attention to DT_SYMBOLIC.
//#Spec: 36
//#Lib: libfoo.so = foo.c -Wl,-Bsymbolic
//#Lib: libflag.so = flag.c -Wl,-z,lazy
//#Prog: -rdynamic -lfoo -lflag
//#Expect: foo foo program
#include <stdio.h>
const char *a(void) { return "program"; }
const char *b(void) { return "program"; }
const char *c(void) { return "program"; }
const char *ask_a(void), *ask_b(void), *ask_c(void);
int main(void) { printf("%s %s %s\n", ask_a(), ask_b(), ask_c()); }
//#File: foo.c
const char *a(void) { return "foo"; }
__attribute__((visibility("protected"))) const char *b(void) { return "foo"; }
const char *ask_a(void) { return a(); }
const char *ask_b(void) { return b(); }
//#File: flag.c
const char *c(void) { return "flag"; }
const char *ask_c(void) { return c(); }
