// Constructors run depth first in order of dependencies, the program's last; destructors the other way round.
//#Spec: 47, 49
//#Lib: libbase.so = lib.c -DN='"base"'
//#Lib: libleft.so = lib.c -DN='"left"' -lbase
//#Lib: libright.so = lib.c -DN='"right"' -lbase
//#Prog: -lleft -lright
//#Expect: +base +left +right +program main -program -right -left -base
#include <stdio.h>
int main(void) { printf("main "); }
#define N "program"
#include "lib.c"
//#File: lib.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { printf("+%s ", N); }
__attribute__((destructor)) static void fini(void) { printf("-%s%s", N, *N == 'b' ? "\n" : " "); }
