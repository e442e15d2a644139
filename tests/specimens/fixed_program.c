// A program at a fixed address with copy relocations, which uses no data.
//#Spec: beyond
//#Only: direct
//#Lib: libempty.so = empty.c -nostdlib
//#Prog: -nostdlib -nostartfiles -fno-stack-protector -no-pie -fno-pie -lempty -lc -Wl,-z,relro,--hash-style=both
//#Expect: ok
__asm__(".globl _start\n"
        "_start: mov $1, %eax\n mov $1, %edi\n lea text(%rip), %rsi\n mov $3, %edx\n syscall\n"
        " mov $231, %eax\n xor %edi, %edi\n syscall\n"
        "text: .ascii \"ok\\n\"\n");
extern char **environ;
extern int copied;
int (*pointer)(void);
int use(void);
int get(void) { return copied + (environ != 0) + use(); }
int *other = &copied;
_Thread_local int value = 5;
//#File: empty.c
int copied = 7;
int use(void) { return copied; }
