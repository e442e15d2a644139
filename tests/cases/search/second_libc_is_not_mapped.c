// A library that defines __libc_start_main and stdin is taken for a libc, and the own one used instead.
//#Spec: 20
//#Lib: liblooks.so = looks.c -nostdlib
//#Prog: -llooks
//#Expect: own libc, f absent
#include <stdio.h>
__attribute__((weak)) int f(void);
int main(void) { printf("own libc, f %s\n", f ? "present" : "absent"); }
//#File: looks.c
void *stdin;
int __libc_start_main(void) { return 1; }
int f(void) { return 1; }
