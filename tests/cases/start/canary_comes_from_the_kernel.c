// The stack canary is made from the kernel's random bytes.
//#Spec: 2
//#Expect: from AT_RANDOM
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
int main(void) {
    unsigned long canary, random;
    __asm__("mov %%fs:0x28, %0" : "=r"(canary));
    memcpy(&random, (void *)getauxval(AT_RANDOM), sizeof random);
    puts((canary | 0xff00) == (random | 0xff00) && !(canary & 0xff00) ? "from AT_RANDOM" : "something else");
}
