// The program's definition beats every library's, for the libraries too.
//#Spec: 28, 29
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo -rdynamic
//#Expect: program program
#include <stdio.h>
const char *which(void) { return "program"; }
const char *ask(void);
int main(void) { printf("%s %s\n", which(), ask()); }
//#File: foo.c
const char *which(void) { return "library"; }
const char *ask(void) { return which(); }
