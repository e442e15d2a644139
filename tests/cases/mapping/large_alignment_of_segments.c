// A library linked for 2 MiB pages is mapped as a whole and runs.
//#Spec: 23
//#Lib: libfoo.so = foo.c -Wl,-z,max-page-size=0x200000
//#Prog: -lfoo
//#Expect: 42
#include <stdio.h>
int f(void);
int main(void) { printf("%d\n", f()); }
//#File: foo.c
static int data = 42, *pointer = &data;
int f(void) { return *pointer; }
