// A run path with any other $ token is ignored as a whole, also the elements without one.
//#Spec: 18
//#Lib: libfoo.so = foo.c
//#Rpath: $LIB:$ORIGIN
//#Prog: -lfoo
//#Run: {start}; echo "exit $?"
//#Expect: exit 127
//#Expect-err: Error loading shared library libfoo.so: No such file or directory (needed by ./prog)
//#Expect-err: Error relocating ./prog: f: symbol not found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
