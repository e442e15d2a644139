// With the kernel's address randomisation off, and with the old memory layout, programs run.
//#Spec: 23
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: setarch -R {start}; setarch -L {start}; ulimit -s unlimited; {start}
//#Expect: foo
//#Expect: foo
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
