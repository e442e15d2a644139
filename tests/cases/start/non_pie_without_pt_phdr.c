// A program linked to a fixed address needs no PT_PHDR: its base is 0.
//#Spec: 4
//#Only: interp
//#Prog: -no-pie -fno-pie
//#Patch: prog phdr[PT_PHDR].p_type = PT_NULL
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
