// A weak definition in an earlier library beats a strong one in a later library.
//#Spec: 28, 29
//#Lib: libweak.so = weak.c
//#Lib: libstrong.so = strong.c
//#Prog: -lweak -lstrong
//#Expect: weak
#include <stdio.h>
const char *which(void);
int main(void) { puts(which()); }
//#File: weak.c
__attribute__((weak)) const char *which(void) { return "weak"; }
//#File: strong.c
const char *which(void) { return "strong"; }
