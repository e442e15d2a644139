// Preloaded libraries stand right after the program, in the order of LD_PRELOAD.
//#Spec: 21, 29
//#Lib: libfoo.so = foo.c
//#Lib: libone.so = one.c
//#Lib: libtwo.so = two.c
//#Prog: -lfoo
//#Env: LD_PRELOAD={dir}/libone.so:{dir}/libtwo.so
//#Expect: one two foo
#include <stdio.h>
const char *f(void), *g(void), *h(void);
int main(void) { printf("%s %s %s\n", f(), g(), h()); }
//#File: foo.c
const char *f(void) { return "foo"; }
const char *g(void) { return "foo"; }
const char *h(void) { return "foo"; }
//#File: one.c
const char *f(void) { return "one"; }
//#File: two.c
const char *f(void) { return "two"; }
const char *g(void) { return "two"; }
