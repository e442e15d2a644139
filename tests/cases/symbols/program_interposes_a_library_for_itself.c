// A function that a library calls in itself, through the PLT, can be interposed by a preload; a static one not.
//#Spec: 21, 29
//#Lib: libfoo.so = foo.c
//#Lib: libpre.so = pre.c
//#Prog: -lfoo
//#Env: LD_PRELOAD={dir}/libpre.so
//#Expect: preload static
#include <stdio.h>
void show(void);
int main(void) { show(); }
//#File: foo.c
#include <stdio.h>
const char *interposable(void) { return "library"; }
static __attribute__((noinline)) const char *fixed(void) { return "static"; }
void show(void) { printf("%s %s\n", interposable(), fixed()); }
//#File: pre.c
const char *interposable(void) { return "preload"; }
const char *fixed(void) { return "preload"; }
