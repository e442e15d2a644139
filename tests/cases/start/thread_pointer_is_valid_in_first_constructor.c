// errno, the canary's place and pthread_self work in the first constructor that runs.
//#Spec: 2, 44
//#Lib: libfoo.so = foo.c -fstack-protector-all
//#Prog: -lfoo
//#Expect: self pointer ok, canary stable, errno 2
int main(void) {}
//#File: foo.c
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
static unsigned long canary(void) {
    unsigned long value;
    __asm__ volatile("mov %%fs:0x28, %0" : "=r"(value));
    return value;
}
__attribute__((constructor)) static void init(void) {
    unsigned long self, before = canary();
    __asm__ volatile("mov %%fs:0, %0" : "=r"(self));
    open("/nowhere/file", O_RDONLY);
    printf("self pointer %s, canary %s, errno %d\n", self == (unsigned long)pthread_self() ? "ok" : "wrong",
           canary() == before && before ? "stable" : "unstable", errno);
}
