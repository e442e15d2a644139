// Every entry of the auxiliary vector on the stack is as /proc/self/auxv has it from the kernel.
//#Spec: 5
//#Expect: same
#include <elf.h>
#include <stdio.h>
#include <string.h>
extern char **environ;
int main(void) {
    static Elf64_auxv_t kernel[64];
    size_t size = fread(kernel, 1, sizeof kernel, fopen("/proc/self/auxv", "r"));
    char **end = environ;
    while (*end) end++;
    puts(size > 100 && memcmp(end + 1, kernel, size) == 0 ? "same" : "different");
}
