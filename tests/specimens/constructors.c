// A library with DT_INIT and DT_INIT_ARRAY, for corrupting where they point.
//#Spec: beyond
//#Lib: libtarget.so = target.c -nostartfiles -Wl,-init,first,-fini,last
//#Prog: -ltarget
//#Expect: ok
#include <stdio.h>
int main(void) { puts("ok"); }
//#File: target.c
void first(void) {}
void last(void) {}
static volatile int calls;
__attribute__((constructor)) static void init(void) { calls++; }
__attribute__((destructor)) static void fini(void) { calls--; }
