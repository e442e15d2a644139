// At the entry the stack holds argc, argv, environment and auxiliary vector; the kernel's alignment is kept.
//#Spec: 61
//#Prog: -nostartfiles
//#Args[interp]: a b aligned
//#Args[direct]: a b
//#Expect[interp]: argc 4, argv[2] b, argv[4] null
//#Expect[interp]: aligned
//#Expect[direct]: argc 3, argv[2] b, argv[3] null
#include <stdio.h>
#include <stdlib.h>
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
void begin(long *sp) {
    char **argv = (char **)(sp + 1);
    printf("argc %ld, argv[2] %s, argv[%ld] %s\n", sp[0], argv[2], sp[0], argv[sp[0]] ? "garbage" : "null");
    if (argv[3]) puts((long)sp % 16 ? "unaligned" : "aligned");
    exit(0);
}
