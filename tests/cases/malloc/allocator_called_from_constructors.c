// An allocator that is itself constructed works for constructors that run before its own.
//#Spec: 47, 60
//#Lib: libfoo.so = foo.c
//#Prog: -rdynamic -lfoo
//#Expect: library allocated before the program's constructor
#include <stdio.h>
#include <string.h>
static char heap[1 << 20];
static size_t used;
static int constructed;
void *malloc(size_t size) {
    void *block = heap + used;
    used += (size + 31) & -16;
    if (!constructed) memcpy(block, "before", 7);
    return block;
}
void *calloc(size_t n, size_t size) { return malloc(n * size); }
void *realloc(void *old, size_t size) { return malloc(size); }
void free(void *block) {}
__attribute__((constructor)) static void init(void) { constructed = 1; }
const char *library(void);
int main(void) { printf("library allocated %s the program's constructor\n", library()); }
//#File: foo.c
#include <stdlib.h>
static char *block;
__attribute__((constructor)) static void init(void) { block = malloc(10); }
const char *library(void) { return block; }
