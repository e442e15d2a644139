// In a cycle of dependencies the library that was reached first is constructed last.
//#Spec: 47, 49
//#Lib: libc2.so = lib.c -DN='"empty"'
//#Lib: libb2.so = lib.c -DN='"b"' -lc2
//#Lib: liba2.so = lib.c -DN='"a"' -lb2
//#Lib: libc2.so = lib.c -DN='"c"' -la2
//#Prog: -la2
//#Expect: +c +b +a main -a -b -c
#include <stdio.h>
int main(void) { printf("main "); }
//#File: lib.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { printf("+%s ", N); }
__attribute__((destructor)) static void fini(void) { printf("-%s%s", N, *N == 'c' ? "\n" : " "); }
