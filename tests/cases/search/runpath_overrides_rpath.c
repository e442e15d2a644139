// Where both tags exist DT_RUNPATH is used and DT_RPATH is not.
//#Spec: 14
//#Make: mkdir aa bb
//#Lib: aa/libfoo.so = foo.c -DTEXT='"aa"'
//#Lib: bb/libfoo.so = foo.c -DTEXT='"bb"'
//#Rpath: aa
//#Prog: -Laa -lfoo -Wl,--disable-new-dtags -Wl,--audit=bb
//#Patch: prog dyn[DT_AUDIT].d_tag = DT_RUNPATH
//#Expect: bb
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return TEXT; }
