// The copy is taken after the library's relocations: a copied pointer is already right.
//#Spec: 37
//#Lib: libfoo.so = foo.c
//#Prog: -no-pie -fno-pie -lfoo
//#Expect: text of the library
#include <stdio.h>
extern const char *message;
int main(void) { puts(message); }
//#File: foo.c
const char *message = "text of the library";
