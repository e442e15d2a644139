// A needed name with a slash is relative to the working directory; no search takes place.
//#Spec: 11
//#Make: mkdir sub else
//#Lib: sub/libfoo.so = foo.c
//#Make: cp sub/libfoo.so .
//#Prog: sub/libfoo.so
//#Run: {start}; echo "exit $?"
//#Run[interp]: cd else; LD_LIBRARY_PATH={dir} ../prog; echo "exit $?"
//#Run[direct]: cd else; LD_LIBRARY_PATH={dir} {ld} ../prog; echo "exit $?"
//#Expect: foo
//#Expect: exit 0
//#Expect: exit 127
//#Expect-err: Error loading shared library sub/libfoo.so: No such file or directory (needed by ../prog)
//#Expect-err: Error relocating ../prog: f: symbol not found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
