// A bare name equal to the file name of a loaded library needs no search: the first path stays.
//#Spec: 12
//#Make: mkdir one two
//#Lib: one/libfoo.so = foo.c -DTEXT='"one"'
//#Lib: two/libfoo.so = foo.c -DTEXT='"two"'
//#Lib: one/libbar.so = bar.c -Lone -lfoo -Wl,-rpath,'$ORIGIN/../two'
//#Rpath: $ORIGIN/one
//#Prog: -Lone -lfoo -lbar
//#Expect: one one
#include <stdio.h>
const char *f(void), *bar(void);
int main(void) { printf("%s %s\n", f(), bar()); }
//#File: foo.c
const char *f(void) { return TEXT; }
//#File: bar.c
const char *f(void);
const char *bar(void) { return f(); }
