// --list prints the interpreter, then each object as it is loaded, and starts nothing.
//#Spec: 8
//#Only: direct
//#Normalise: addresses
//#Lib: libdeep.so = deep.c
//#Lib: libfoo.so = foo.c -ldeep
//#Prog: -lfoo
//#Run: {ld} --list ./prog; echo "exit $?"
//#Expect: \t$LD (0xADDR)
//#Expect: \tlibfoo.so => ./libfoo.so (0xADDR)
//#Expect: \tlibc.so => $LD (0xADDR)
//#Expect: \tlibdeep.so => ./libdeep.so (0xADDR)
//#Expect: exit 0
#include <stdio.h>
int main(void) { puts("started"); }
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("constructed"); }
//#File: deep.c
int deep;
