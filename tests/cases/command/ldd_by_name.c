// Under a name that ends in "ldd" the loader lists, and takes the interpreter's name from the program.
//#Spec: 5, 8
//#Only: direct
//#Normalise: addresses
//#Make: ln -s {interp} ldd
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: ./ldd ./prog; echo "exit $?"
//#Expect: \t$LD (0xADDR)
//#Expect: \tlibfoo.so => ./libfoo.so (0xADDR)
//#Expect: \tlibc.so => $LD (0xADDR)
//#Expect: exit 0
#include <stdio.h>
int main(void) { puts("started"); }
//#File: foo.c
int foo;
