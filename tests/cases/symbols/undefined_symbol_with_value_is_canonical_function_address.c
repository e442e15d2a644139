// A function's address in a non-PIC program is its PLT entry, and libraries see the same address.
//#Spec: 30
//#Lib: libfoo.so = foo.c
//#Prog: -no-pie -fno-pie -lfoo -z lazy
//#Expect: same, called
#include <stdio.h>
void f(void);
void *address(void);
int main(void) {
    printf("%s, ", address() == (void *)f ? "same" : "different");
    fflush(stdout);
    f();
}
//#File: foo.c
#include <stdio.h>
void f(void) { puts("called"); }
void *address(void) { return f; }
