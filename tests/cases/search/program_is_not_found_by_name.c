// The program's own file name satisfies no DT_NEEDED: a library of that name is searched and loaded.
//#Spec: 12
//#Make: mkdir sub
//#Lib: sub/prog = foo.c -Wl,-soname,prog
//#Rpath: $ORIGIN/sub
//#Prog: sub/prog
//#Expect: library
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "library"; }
