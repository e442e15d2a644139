// A program whose _start never calls __libc_start_main gets no constructors, its own or its libraries'.
//#Spec: 47
//#Lib: libfoo.so = foo.c
//#Prog: -nostartfiles -lfoo
//#Expect: start
#include <unistd.h>
__attribute__((constructor)) static void init(void) { write(1, "program\n", 8); }
void begin(void) {
    write(1, "start\n", 6);
    _exit(0);
}
__asm__(".globl _start\n_start: and $-16, %rsp\n call begin\n");
//#File: foo.c
#include <unistd.h>
__attribute__((constructor)) static void init(void) { write(1, "library\n", 8); }
