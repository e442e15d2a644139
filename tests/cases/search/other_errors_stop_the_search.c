// Another error (here too many symbolic links) ends the whole search, run path and system included.
//#Spec: 16
//#Lib: libfoo.so = foo.c
//#Make: mkdir loop && ln -s libfoo.so loop/libfoo.so
//#Prog: -lfoo
//#Run: LD_LIBRARY_PATH={dir}/loop {start}; echo "exit $?"
//#Run: LD_LIBRARY_PATH={dir}/loop:{dir} {start}; echo "exit $?"
//#Run: LD_LIBRARY_PATH={dir}:{dir}/loop {start}; echo "exit $?"
//#Expect: exit 127
//#Expect: exit 127
//#Expect: foo
//#Expect: exit 0
//#Expect-err: Error loading shared library libfoo.so: Symbolic link loop (needed by ./prog)
//#Expect-err: Error relocating ./prog: f: symbol not found
//#Expect-err: Error loading shared library libfoo.so: Symbolic link loop (needed by ./prog)
//#Expect-err: Error relocating ./prog: f: symbol not found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
