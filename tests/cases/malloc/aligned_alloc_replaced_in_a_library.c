// A library that replaces malloc and aligned_alloc both is consistent: aligned_alloc does not fail.
//#Spec: 60
//#Lib: liballoc.so = alloc.c
//#Prog: -lalloc
//#Expect: posix_memalign 0
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    void *p;
    printf("posix_memalign %d\n", posix_memalign(&p, 64, 64));
}
//#File: alloc.c
#include <stddef.h>
#include <string.h>
static char heap[1 << 20];
static size_t used;
void *malloc(size_t size) {
    void *block = heap + used;
    used += (size + 63) & -64;
    return block;
}
void *calloc(size_t n, size_t size) { return memset(malloc(n * size), 0, n * size); }
void *realloc(void *old, size_t size) { return malloc(size); }
void *aligned_alloc(size_t align, size_t size) { return malloc(size); }
void free(void *block) {}
