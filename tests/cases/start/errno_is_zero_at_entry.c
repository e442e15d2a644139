// errno is 0 when the first constructor runs, whatever files the loader failed to open.
//#Spec: 61
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Env: LD_LIBRARY_PATH=/nowhere:/neither
//#Env: LD_PRELOAD=/no/such.so
//#Expect: errno 0
//#Expect: errno 0
#include <errno.h>
#include <stdio.h>
int main(void) {}
__attribute__((constructor)) static void init(void) { printf("errno %d\n", errno); }
//#File: foo.c
#include <errno.h>
#include <stdio.h>
__attribute__((constructor)) static void init(void) { printf("errno %d\n", errno); }
