// Without any replacement the whole malloc family is libc's and works, aligned_alloc included.
//#Spec: 60
//#Expect: ok
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    void *p = 0;
    int good = posix_memalign(&p, 4096, 100) == 0 && ((long)p & 4095) == 0;
    good = good && ((long)aligned_alloc(64, 128) & 63) == 0 && ((long)memalign(256, 1) & 255) == 0;
    good = good && realloc(malloc(10), 100000) && malloc_usable_size(malloc(100)) >= 100;
    puts(good ? "ok" : "failed");
}
