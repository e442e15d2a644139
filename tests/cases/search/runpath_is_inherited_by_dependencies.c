// A library's dependency is found by the program's DT_RUNPATH, as with DT_RPATH.
//#Spec: 14
//#Make: mkdir sub
//#Lib: sub/libdeep.so = deep.c
//#Lib: libfoo.so = foo.c -Lsub -ldeep
//#Rpath: $ORIGIN:$ORIGIN/sub
//#Prog: -lfoo -Wl,-rpath-link,sub -Wl,--enable-new-dtags
//#Expect: deep
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: deep.c
const char *deep(void) { return "deep"; }
//#File: foo.c
const char *deep(void);
const char *f(void) { return deep(); }
