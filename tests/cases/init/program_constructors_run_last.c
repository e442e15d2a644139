// The program's own DT_INIT and constructors run after all libraries', before main.
//#Spec: 47
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: library program-init program-array main
#include <stdio.h>
__asm__(".section .init,\"ax\",@progbits\n call program_init\n.text\n");
void program_init(void) { printf("program-init "); }
__attribute__((constructor)) static void init(void) { printf("program-array "); }
int main(void) { puts("main"); }
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { printf("library "); }
