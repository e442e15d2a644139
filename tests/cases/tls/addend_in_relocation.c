// TPOFF64, DTPMOD64 and DTPOFF64 relocations made by hand use symbol and addend.
//#Spec: 38
//#Lib: libvar.so = var.c
//#Lib: libfoo.so = foo.s -nostdlib -lvar
//#Prog: -lfoo -lvar
//#Expect: initial-exec 3, general-dynamic 4
#include <stdio.h>
int *ie(void), *gd(void);
extern _Thread_local int table[4];
int main(void) { printf("initial-exec %d, general-dynamic %d\n", *(ie() + 2), gd()[3]); }
//#File: var.c
_Thread_local int table[4] = {1, 2, 3, 4};
//#File: foo.s
        .text
        .globl ie, gd
ie:     mov table@gottpoff(%rip), %rax
        add %fs:0, %rax
        ret
gd:     sub $8, %rsp
        .byte 0x66
        lea table@tlsgd(%rip), %rdi
        .value 0x6666
        rex64
        call __tls_get_addr@PLT
        add $8, %rsp
        ret
        .section .note.GNU-stack,"",@progbits
