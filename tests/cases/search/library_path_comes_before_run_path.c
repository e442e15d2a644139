// LD_LIBRARY_PATH is searched first, then the run path, then the system's folders.
//#Spec: 14
//#Make: mkdir env run
//#Lib: env/libfoo.so = foo.c -DTEXT='"env"'
//#Lib: run/libfoo.so = foo.c -DTEXT='"run"'
//#Rpath: $ORIGIN/run
//#Prog: -Lrun -lfoo
//#Run: {start}; LD_LIBRARY_PATH=env {start}; LD_LIBRARY_PATH=nowhere {start}
//#Expect: run
//#Expect: env
//#Expect: run
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return TEXT; }
