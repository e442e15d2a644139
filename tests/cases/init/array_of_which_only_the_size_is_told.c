// Constructors and destructors of which only the size of the table is told are none.
//#Spec: 46
//#Lib: libx.so = x.c
//#Patch: libx.so dyn[DT_INIT_ARRAY].d_tag = 0x6ffffef0
//#Patch: libx.so dyn[26].d_tag = 0x6ffffef1
//#Prog: -lx
//#Expect: main
#include <stdio.h>
void x(void);
int main(void) { x(); }
//#File: x.c
#include <stdio.h>
__attribute__((constructor)) static void begin(void) { puts("constructor"); }
__attribute__((destructor)) static void end(void) { puts("destructor"); }
void x(void) { puts("main"); }
