// A function missing from a library that is linked lazily is an error at start, even if never called.
//#Spec: 41
//#Lib: libfoo.so = foo.c -Wl,-z,lazy
//#Prog: -lfoo
//#Expect-err-match: ^Error relocating \S*libfoo.so: never_called: symbol not found\n$
//#Expect-exit: 127
#include <stdio.h>
int main(void) { puts("started"); }
//#File: foo.c
void never_called(void);
void f(int call) { if (call) never_called(); }
