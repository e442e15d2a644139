// A program that consists of one instruction sequence and uses no data.
//#Spec: beyond
//#Only: direct
//#Lib: libempty.so = empty.c -nostdlib
//#Prog: -nostdlib -nostartfiles -fno-stack-protector -lempty -lc -Wl,-z,relro -Wl,--hash-style=both
//#Expect: ok
__asm__(".globl _start\n"
        "_start: mov $1, %eax\n mov $1, %edi\n lea text(%rip), %rsi\n mov $3, %edx\n syscall\n"
        " mov $231, %eax\n xor %edi, %edi\n syscall\n"
        "text: .ascii \"ok\\n\"\n");
int data = 1, *pointer = &data;
extern int empty;
int *other = &empty;
_Thread_local int value = 5;
//#File: empty.c
int empty;
