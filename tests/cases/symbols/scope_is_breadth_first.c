// A definition in a direct dependency beats one in an earlier dependency's dependency.
//#Spec: 22, 29
//#Lib: libdeep.so = deep.c
//#Lib: libfirst.so = first.c -ldeep
//#Lib: libsecond.so = second.c
//#Prog: -lfirst -lsecond
//#Expect: second
#include <stdio.h>
const char *which(void);
int main(void) { puts(which()); }
//#File: deep.c
const char *which(void) { return "deep"; }
//#File: first.c
int first;
//#File: second.c
const char *which(void) { return "second"; }
