// A library with an entry is a dynamic program to the loader.
//#Spec: 7
//#Only: direct
//#Lib: libentry.so = entry.c -nostdlib -Wl,-e,begin
//#Run: {ld} ./libentry.so
//#Expect-exit: 7
int main(void) {}
//#File: entry.c
__asm__(".globl begin\nbegin: mov $7, %edi\n mov $231, %eax\n syscall\n");
