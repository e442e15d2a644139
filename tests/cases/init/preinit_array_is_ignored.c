// DT_PREINIT_ARRAY of a program is not run.
//#Spec: 48
//#Expect: main
#include <stdio.h>
static void before(void) { puts("preinit"); }
__attribute__((section(".preinit_array"), used)) static void (*preinit)(void) = before;
int main(void) { puts("main"); }
