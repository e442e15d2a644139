// Constructors of libraries and program see the environment, with the LD_* variables.
//#Spec: 47, 61
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Env: MARK=mark
//#Env: LD_PRELOAD=nothing.so
//#Expect: library: mark nothing.so
//#Expect: program: mark nothing.so
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void init(void) {
    printf("program: %s %s\n", getenv("MARK"), getenv("LD_PRELOAD"));
}
int main(void) {}
//#File: foo.c
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void init(void) {
    printf("library: %s %s\n", getenv("MARK"), getenv("LD_PRELOAD"));
}
