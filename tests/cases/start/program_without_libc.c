// A program with an interpreter and no libc at all runs, with TLS set up for the stack protector.
//#Spec: 2, 61
//#Prog: -nostdlib -fstack-protector-all
//#Expect: hello
static long call(long n, long a, long b, long c) {
    __asm__ volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return n;
}
void __stack_chk_fail(void) { call(231, 99, 0, 0); }
__attribute__((used)) static int body(void) {
    volatile char text[] = "hello\n";
    call(1, 1, (long)text, 6);
    return 0;
}
__asm__(".globl _start\n_start: and $-16, %rsp\n call body\n mov %eax, %edi\n mov $231, %eax\n syscall\n");
