// ENOENT, ENOTDIR and ENAMETOOLONG go on with the next folder.
//#Spec: 16
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Rpath: none
//#Run: long=$(printf 'n%.0s' $(seq 300))
//#Run: LD_LIBRARY_PATH={dir}/nowhere:{dir}/main.c:$long:{dir} {start}
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
