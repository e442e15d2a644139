// Colons and newlines separate; empty elements are skipped and do not mean the working directory.
//#Spec: 15
//#Make: mkdir sub
//#Lib: sub/libfoo.so = foo.c
//#Prog: -Lsub -lfoo
//#Rpath: none
//#Run: LD_LIBRARY_PATH=nowhere:sub {start}
//#Run: LD_LIBRARY_PATH='nowhere
//#Run: sub' {start}
//#Run: LD_LIBRARY_PATH=::sub: {start}
//#Run: mkdir -p {tmp}/x; cp -r prog sub {tmp}/x; cd {tmp}/x; cp sub/libfoo.so .
//#Run: LD_LIBRARY_PATH=:: {start}; echo "exit $?"
//#Run: LD_LIBRARY_PATH= {start}; echo "exit $?"; LD_LIBRARY_PATH=. {start}
//#Expect: foo
//#Expect: foo
//#Expect: foo
//#Expect: exit 127
//#Expect: exit 127
//#Expect: foo
//#Expect-err-match: ^(Error loading shared library libfoo.so: No such file or directory .*\n.*\n){2}$
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
