// DT_INIT runs before DT_INIT_ARRAY, in its order; DT_FINI_ARRAY backwards before DT_FINI.
//#Spec: 48, 49
//#Lib: libfoo.so = foo.c -Wl,-init,old_init,-fini,old_fini
//#Prog: -lfoo
//#Expect: init array1 array2 main fini2 fini1 fini
#include <stdio.h>
int main(void) { printf("main "); }
//#File: foo.c
#include <stdio.h>
void old_init(void) { printf("init "); }
void old_fini(void) { puts("fini"); }
__attribute__((constructor(101))) static void array1(void) { printf("array1 "); }
__attribute__((constructor(102))) static void array2(void) { printf("array2 "); }
__attribute__((destructor(101))) static void fini1(void) { printf("fini1 "); }
__attribute__((destructor(102))) static void fini2(void) { printf("fini2 "); }
