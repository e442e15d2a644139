// Thread-local variables are set up before the first constructor of a library runs.
//#Spec: 46, 47
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: constructor 5
//#Expect: main 6
#include <stdio.h>
int f(void);
int main(void) { printf("main %d\n", f()); }
//#File: foo.c
#include <stdio.h>
static _Thread_local int value = 5;
int f(void) { return value; }
__attribute__((constructor)) static void init(void) { printf("constructor %d\n", value++); }
