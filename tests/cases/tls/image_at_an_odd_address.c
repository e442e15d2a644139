// Where the image is not aligned in its segment, offsets keep the congruence of addresses.
//#Spec: 43
//#Lib: libfoo.so = foo.s -nostdlib
//#Prog: -lfoo
//#Expect: library 0 77, program ok
#include <stdio.h>
extern _Thread_local int odd;
static _Thread_local char c = 1;
static _Thread_local _Alignas(32) int aligned = 5;
int main(void) {
    printf("library %#lx %d, program %s\n", (unsigned long)&odd & 7, odd,
           aligned == 5 && c == 1 && ((unsigned long)&aligned & 31) == 0 ? "ok" : "wrong");
}
//#File: foo.s
        .section .tdata,"awT",@progbits
        .byte 1
        .balign 8
        .globl odd
        .type odd, @object
        .size odd, 4
odd:    .long 77
        .byte 3
        .section .note.GNU-stack,"",@progbits
