// A candidate path of 512 bytes or more is skipped silently, the next element is tried.
//#Spec: 13
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Rpath: none
//#Run: long={dir}; while [ ${#long} -lt 520 ]; do long=$long/.; done
//#Run: LD_LIBRARY_PATH=$long {start}; echo "exit $?"
//#Run: LD_LIBRARY_PATH=$long:{dir} {start}; echo "exit $?"
//#Expect: exit 127
//#Expect: foo
//#Expect: exit 0
//#Expect-err: Error loading shared library libfoo.so: No such file or directory (needed by ./prog)
//#Expect-err: Error relocating ./prog: f: symbol not found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
