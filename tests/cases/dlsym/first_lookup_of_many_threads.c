// Whoever is the first to look something up finds it, and so do all others at the same time.
//#Spec: 54
//#Lib: libleaf.so = leaf.c
//#Lib: libtop.so = top.c -lleaf
//#Prog: -rdynamic -ltop -pthread
//#Expect: 8 threads have found everything
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
const char *top(void);
static pthread_barrier_t barrier;
static void *look_up(void *number) {
    pthread_barrier_wait(&barrier);
    Dl_info info;
    long found = 0;
    for (int round = 0; round < 2; round++) {
        if (((long)number + round) % 2) found += dlsym(RTLD_DEFAULT, "leaf") && !dlsym(RTLD_DEFAULT, "nowhere");
        else found += dladdr((void *)top, &info) && info.dli_sname && !strcmp(info.dli_sname, "top");
    }
    return (void *)(found == 2);
}
int main(void) {
    pthread_t threads[8];
    long good = 0;
    pthread_barrier_init(&barrier, 0, 8);
    for (long i = 0; i < 8; i++) pthread_create(&threads[i], 0, look_up, (void *)i);
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        good += (long)result;
    }
    printf("%ld threads have found everything\n", good);
}
//#File: leaf.c
const char *leaf(void) { return "leaf"; }
//#File: top.c
const char *leaf(void);
const char *top(void) { return leaf(); }
