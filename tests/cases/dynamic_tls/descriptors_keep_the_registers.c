// A TLSDESC call changes no register but rax, in the first use in a thread either: general, vector with their upper halves, and the
// control words of both floating-point units.
//#Spec: 38
//#Lib: libfoo.so = foo.s -nostdlib
//#Expect: first 7: registers kept, again 8: registers kept
//#Expect: first 7: registers kept, again 8: registers kept
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
struct state { unsigned long general[16]; unsigned char vector[16][32]; };
extern void (*call)(struct state *in, struct state *out, int *value, int avx);
void (*call)(struct state *in, struct state *out, int *value, int avx);
static const char *compare(int *value) {
    struct state in, out;
    for (unsigned i = 0; i < sizeof in; i++) ((unsigned char *)&in)[i] = (unsigned char)(i * 7 + 3);
    memset(&out, 0, sizeof out);
    int avx = __builtin_cpu_supports("avx") != 0;
    if (!avx) for (int i = 0; i < 16; i++) memset(in.vector[i] + 16, 0, 16);
    /* Rounding towards zero; x87 with double precision as well. */
    unsigned mxcsr = 0x7f80, mxcsr_before, mxcsr_after;
    unsigned short x87 = 0xe7f, x87_before, x87_after;
    __asm__ volatile("stmxcsr %0; fnstcw %1; ldmxcsr %2; fldcw %3" : "=m"(mxcsr_before), "=m"(x87_before) : "m"(mxcsr), "m"(x87));
    call(&in, &out, value, avx);
    __asm__ volatile("stmxcsr %0; fnstcw %1; ldmxcsr %2; fldcw %3" : "=m"(mxcsr_after), "=m"(x87_after) : "m"(mxcsr_before), "m"(x87_before));
    if (mxcsr_after != mxcsr || x87_after != x87) return "control words changed";
    out.general[0] = in.general[0];
    /* The callers' frame: rsp, and what holds `out`. */
    out.general[4] = in.general[4];
    for (int i = 0; i < 16; i++) if (in.general[i] != out.general[i]) { static char text[40]; snprintf(text, 40, "general %d changed", i); return text; }
    return memcmp(in.vector, out.vector, sizeof in.vector) ? "vector changed" : "kept";
}
static void *thread(void *unused) {
    int first, again;
    const char *a = compare(&first), *b = compare(&again);
    printf("first %d: registers %s, again %d: registers %s\n", first, a, again, b);
    return 0;
}
int main(void) {
    void *h = dlopen("./libfoo.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    call = (void (*)(struct state *, struct state *, int *, int))dlsym(h, "call");
    pthread_t t;
    thread(0);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
//#File: foo.s
        .section .tdata,"awT",@progbits
variable: .long 7
        .text
        .globl call
        .type call, @function
call:   push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        push %rcx                       # 24(%rsp) later: avx
        push %rdx                       # value
        push %rsi                       # out
        test %ecx, %ecx
        jz 1f
        .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu 128+32*\n(%rdi), %ymm\n
        .endr
        jmp 2f
1:
        .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movdqu 128+32*\n(%rdi), %xmm\n
        .endr
2:      mov 8*1(%rdi), %rcx
        mov 8*2(%rdi), %rdx
        mov 8*3(%rdi), %rbx
        mov 8*5(%rdi), %rbp
        mov 8*6(%rdi), %rsi
        mov 8*8(%rdi), %r8
        mov 8*9(%rdi), %r9
        mov 8*10(%rdi), %r10
        mov 8*11(%rdi), %r11
        mov 8*12(%rdi), %r12
        mov 8*13(%rdi), %r13
        mov 8*14(%rdi), %r14
        mov 8*15(%rdi), %r15
        mov 8*7(%rdi), %rdi
        lea variable@tlsdesc(%rip), %rax
        call *variable@tlscall(%rax)
        push %rdi
        mov 8(%rsp), %rdi               # out
        mov %rcx, 8*1(%rdi)
        mov %rdx, 8*2(%rdi)
        mov %rbx, 8*3(%rdi)
        mov %rbp, 8*5(%rdi)
        mov %rsi, 8*6(%rdi)
        mov %r8, 8*8(%rdi)
        mov %r9, 8*9(%rdi)
        mov %r10, 8*10(%rdi)
        mov %r11, 8*11(%rdi)
        mov %r12, 8*12(%rdi)
        mov %r13, 8*13(%rdi)
        mov %r14, 8*14(%rdi)
        mov %r15, 8*15(%rdi)
        pop %rcx
        mov %rcx, 8*7(%rdi)
        pop %rsi
        pop %rdx
        mov %fs:(%rax), %ecx
        mov %ecx, (%rdx)
        incl %fs:(%rax)
        pop %rcx
        test %ecx, %ecx
        jz 3f
        .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu %ymm\n, 128+32*\n(%rdi)
        .endr
        vzeroupper
        jmp 4f
3:
        .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movdqu %xmm\n, 128+32*\n(%rdi)
        .endr
4:      pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret
        .section .note.GNU-stack,"",@progbits
