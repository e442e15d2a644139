// The suffix is stripped for libc only: a definition of the plain name elsewhere is not used.
//#Spec: 34
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: libc: a file
#include <stdio.h>
FILE *open_64(const char *, const char *) __asm__("fopen64");
int main(void) { puts(open_64("main.c", "r") ? "libc: a file" : "library: nothing"); }
//#File: foo.c
void *fopen(const char *name, const char *mode) { return 0; }
