// A symbol marked hidden or protected in .dynsym is found like any other.
//#Spec: 30, 36
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Patch: libfoo.so sym[hidden].st_other = 2
//#Patch: libfoo.so sym[prot].st_other = 3
//#Expect: hidden protected
#include <stdio.h>
const char *hidden(void), *prot(void);
int main(void) { printf("%s %s\n", hidden(), prot()); }
//#File: foo.c
const char *hidden(void) { return "hidden"; }
const char *prot(void) { return "protected"; }
