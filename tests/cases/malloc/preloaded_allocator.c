// An allocator preloaded by LD_PRELOAD serves program, libraries and libc.
//#Spec: 21, 60
//#Lib: liballoc.so = alloc.c
//#Env: LD_PRELOAD={dir}/liballoc.so
//#Expect: preloaded, strdup preloaded, calloc zero
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
__attribute__((weak)) int is_mine(void *);
int main(void) {
    char *zero = calloc(100, 1), *copy = strdup("x");
    int sum = 0;
    for (int i = 0; i < 100; i++) sum += zero[i];
    printf("%s, strdup %s, calloc %s\n", is_mine(malloc(1)) ? "preloaded" : "libc's",
           is_mine(copy) ? "preloaded" : "libc's", sum ? "garbage" : "zero");
}
//#File: alloc.c
#include <stddef.h>
#include <string.h>
static char heap[1 << 20];
static size_t used;
int is_mine(void *p) { return (char *)p >= heap && (char *)p < heap + sizeof heap; }
void *malloc(size_t size) {
    void *block = heap + used;
    used += (size + 31) & -16;
    return block;
}
void *calloc(size_t n, size_t size) { return memset(malloc(n * size), 0, n * size); }
void *realloc(void *old, size_t size) { return old ? memmove(malloc(size), old, size) : malloc(size); }
void *memalign(size_t align, size_t size) { return malloc(size); }
void *aligned_alloc(size_t align, size_t size) { return malloc(size); }
void free(void *block) {}
