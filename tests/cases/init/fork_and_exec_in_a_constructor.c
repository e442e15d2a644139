// A constructor may fork, run another program and wait for it.
//#Spec: 47
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: from the shell
#include <stdio.h>
int main(void) {}
//#File: foo.c
#include <stdlib.h>
__attribute__((constructor)) static void init(void) { system("echo from the shell"); }
