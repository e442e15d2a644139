// A run path may name thousands of directories, each of which depends on the origin; the last one counts as the first.
//#Spec: 14, 18
//#Make: { printf -- '-Wl,-rpath,'; for i in $(seq 4096); do printf '$ORIGIN/none%d:' $i; done; printf '${ORIGIN}/last\n'; } > run-path
//#Make: mkdir -p last
//#Lib: last/libfoo.so = foo.c
//#Prog: @run-path -Llast -lfoo
//#Rpath: none
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
