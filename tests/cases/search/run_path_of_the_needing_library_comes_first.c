// The run path of the library that needs another is searched before that of the program.
//#Spec: 14
//#Make: mkdir one two
//#Lib: one/libdeep.so = deep.c -DTEXT='"one"'
//#Lib: two/libdeep.so = deep.c -DTEXT='"two"'
//#Lib: libfoo.so = foo.c -Ltwo -ldeep -Wl,-rpath,'$ORIGIN/two'
//#Rpath: $ORIGIN:$ORIGIN/one
//#Prog: -lfoo -Wl,-rpath-link,one
//#Expect: two
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: deep.c
const char *deep(void) { return TEXT; }
//#File: foo.c
const char *deep(void);
const char *f(void) { return deep(); }
