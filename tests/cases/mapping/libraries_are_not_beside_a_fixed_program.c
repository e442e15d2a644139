// Where a program has a fixed address, its libraries still get random ones.
//#Spec: 23
//#Lib: libfoo.so = foo.c
//#Prog: -no-pie -fno-pie -lfoo
//#Expect: far
#include <stdint.h>
#include <stdio.h>
int foo(void);
extern const int *place(void);
int main(void) {
    puts((uintptr_t)place() > UINT32_MAX && foo() == 1 ? "far" : "near");
}
//#File: foo.c
static const int here = 1;
const int *place(void) { return &here; }
int foo(void) { return 1; }
