// A library that is named late but needed by an early one is constructed before that one.
//#Spec: 47
//#Lib: libdeep.so = lib.c -DN='"deep"'
//#Lib: libone.so = lib.c -DN='"one"' -ldeep
//#Lib: libtwo.so = lib.c -DN='"two"'
//#Prog: -ltwo -lone -ldeep
//#Expect: two deep one main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: lib.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { printf("%s ", N); }
