// A TLSDESC call changes no register but rax and the flags.
//#Spec: 38
//#Lib: libfoo.so = foo.s -nostdlib
//#Prog: -lfoo
//#Expect: registers kept, value 7
#include <stdio.h>
long check(int *value);
int main(void) {
    int value = 0;
    printf("registers %s, ", check(&value) ? "changed" : "kept");
    printf("value %d\n", value);
}
//#File: foo.s
        .section .tdata,"awT",@progbits
        .globl variable
        .type variable, @object
        .size variable, 4
variable: .long 7
        .text
        .globl check
check:  push %rbx
        push %rdi
        mov $1, %ecx
        mov $2, %edx
        mov $3, %esi
        mov $4, %r8d
        mov $5, %r9d
        mov $6, %r10d
        mov $8, %r11d
        mov $9, %edi
        lea variable@tlsdesc(%rip), %rax
        call *variable@tlscall(%rax)
        mov %fs:(%rax), %ebx
        lea -1(%rcx), %rax
        sub $2, %rdx
        or %rdx, %rax
        sub $3, %rsi
        or %rsi, %rax
        sub $4, %r8
        or %r8, %rax
        sub $5, %r9
        or %r9, %rax
        sub $6, %r10
        or %r10, %rax
        sub $8, %r11
        or %r11, %rax
        sub $9, %rdi
        or %rdi, %rax
        pop %rdi
        mov %ebx, (%rdi)
        pop %rbx
        ret
        .section .note.GNU-stack,"",@progbits
