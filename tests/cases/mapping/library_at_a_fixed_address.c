// A non-relocatable (ET_EXEC) library is mapped at its address, if that is free.
//#Spec: 23
//#Lib: libfoo.so = foo.c -nostdlib -Wl,-Ttext-segment=0x10000000
//#Prog: -lfoo
//#Patch: libfoo.so ehdr.e_type = 2
//#Expect: 0x10000000
#include <stdio.h>
long f(void);
int main(void) { printf("%#lx\n", f() & -0x100000); }
//#File: foo.c
long f(void) { return (long)f; }
