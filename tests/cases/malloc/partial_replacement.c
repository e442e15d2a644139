// A replacement of malloc without aligned_alloc makes libc's aligned_alloc fail with ENOMEM.
//#Spec: 60
//#Prog: -rdynamic
//#Expect: aligned_alloc null, errno 12, posix_memalign 12, calloc zero
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char heap[1 << 20];
static size_t used;
void *malloc(size_t size) {
    char *block = heap + used;
    used += (size + 31) & -16;
    return memset(block, 0x55, size);
}
void free(void *block) {}
void *realloc(void *old, size_t size) { return malloc(size); }
int main(void) {
    errno = 0;
    void *block = aligned_alloc(64, 64), *other;
    int error = errno, result = posix_memalign(&other, 64, 64), sum = 0;
    char *zero = calloc(100, 1);
    for (int i = 0; i < 100; i++) sum += zero[i];
    printf("aligned_alloc %s, errno %d, posix_memalign %d, calloc %s\n", block ? "works" : "null", error, result,
           sum ? "garbage" : "zero");
}
