// A position-independent program whose program headers do not say where they are starts all the same.
//#Spec: beyond
//#Beyond-musl: musl takes it to be at address 0, and crashes
//#Only: interp
//#Prog:
//#Patch: prog phdr[PT_PHDR].p_type = 0
//#Expect[morsel]: started
//#Expect-signal[musl]: SIGSEGV
#include <stdio.h>
int main(void) { puts("started"); }
