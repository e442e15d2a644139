// The kernel's vdso is no part of the global scope: its names stay undefined.
//#Spec: 29
//#Expect: not found
#include <stdio.h>
__attribute__((weak)) int __vdso_clock_gettime(int, void *);
int main(void) { puts(__vdso_clock_gettime ? "found" : "not found"); }
