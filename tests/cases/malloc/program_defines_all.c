// A program's own allocator serves program, libraries and libc; nothing calls it before the entry.
//#Spec: 60
//#Lib: libfoo.so = foo.c
//#Prog: -rdynamic -lfoo
//#Expect: before main 0, library 1, libc's strdup 1, same allocator
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char heap[1 << 20];
static size_t used;
static volatile int calls;
static void *take(size_t size) {
    void *block = heap + used;
    used += (size + 31) & -16;
    calls++;
    return block;
}
void *malloc(size_t size) { return take(size); }
void *calloc(size_t n, size_t size) { return take(n * size); }
void *realloc(void *old, size_t size) { return memcpy(take(size), old ? old : heap, size); }
void *memalign(size_t align, size_t size) { return take(size); }
void *aligned_alloc(size_t align, size_t size) { return take(size); }
int posix_memalign(void **out, size_t align, size_t size) { return *out = take(size), 0; }
void free(void *block) {}
void *library(void);
int main(void) {
    int before = calls;
    void *block = library();
    int by_library = calls - before;
    char *copy = strdup("text");
    int by_libc = calls - before - by_library;
    printf("before main %d, library %d, libc's strdup %d, %s\n", before, by_library, by_libc,
           (char *)block >= heap && copy >= heap && copy < heap + sizeof heap ? "same allocator" : "two allocators");
}
//#File: foo.c
#include <stdlib.h>
void *library(void) { return malloc(10); }
