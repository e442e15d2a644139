// A program at a fixed address whose only library is not libc: thread-local variables are still set up.
//#Spec: 2, 43
//#Lib: libfoo.so = foo.c -nostdlib -ftls-model=initial-exec
//#Prog: -nostdlib -no-pie -fno-pie -fno-stack-protector -lfoo
//#Expect: hello
static long call(long n, long a, long b, long c) {
    __asm__ volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return n;
}
int length(void);
_Thread_local char text[8] = "hello\n";
_Thread_local char zero[100];
__attribute__((used)) static int body(void) {
    call(1, 1, (long)text, length() + zero[50]);
    return 0;
}
__asm__(".globl _start\n_start: and $-16, %rsp\n call body\n mov %eax, %edi\n mov $231, %eax\n syscall\n");
//#File: foo.c
_Thread_local int n = 6;
int length(void) { return n; }
