// The old tag DT_RPATH works as DT_RUNPATH does, after LD_LIBRARY_PATH.
//#Spec: 14
//#Make: mkdir aa bb
//#Lib: aa/libfoo.so = foo.c -DTEXT='"aa"'
//#Lib: bb/libfoo.so = foo.c -DTEXT='"bb"'
//#Rpath: $ORIGIN/aa
//#Prog: -Laa -lfoo -Wl,--disable-new-dtags
//#Run: {start}; LD_LIBRARY_PATH=bb {start}
//#Expect: aa
//#Expect: bb
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return TEXT; }
