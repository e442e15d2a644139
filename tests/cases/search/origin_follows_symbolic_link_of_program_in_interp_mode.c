// $ORIGIN of a program that the kernel mapped is the place of the real file, not of a link to it.
//#Spec: 18
//#Make: mkdir real link
//#Lib: real/libfoo.so = foo.c
//#Make: cp main.c real && ln -s ../real/prog link/prog
//#Prog: real/prog = main.c -Lreal -lfoo
//#Prog: none
//#Run[interp]: link/prog
//#Run[direct]: {ld} link/prog; echo "exit $?"
//#Expect[interp]: foo
//#Expect[direct]: exit 127
//#Expect-err[direct]: Error loading shared library libfoo.so: No such file or directory (needed by link/prog)
//#Expect-err[direct]: Error relocating link/prog: f: symbol not found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
