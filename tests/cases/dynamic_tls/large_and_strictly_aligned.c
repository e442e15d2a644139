// Blocks are aligned as their segment asks, and may be a megabyte large, in every thread.
//#Spec: 38, 45
//#Lib: lib16.so = a.c -DA=16
//#Lib: lib64.so = a.c -DA=64
//#Lib: lib4096.so = a.c -DA=4096
//#Lib: liblarge.so = large.c
//#Expect: wrong 0
//#Expect: wrong 0
//#Expect: wrong 0
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static int (*check[4])(void);
static void *thread(void *unused) {
    int wrong = 0;
    for (int i = 0; i < 4; i++) wrong += check[i]() != 0;
    printf("wrong %d\n", wrong);
    return 0;
}
int main(void) {
    static const char *names[] = { "./lib16.so", "./lib64.so", "./lib4096.so", "./liblarge.so" };
    for (int i = 0; i < 4; i++) {
        void *h = dlopen(names[i], RTLD_NOW);
        if (!h) return puts(dlerror()), 1;
        check[i] = (int (*)(void))dlsym(h, "check");
    }
    pthread_t t;
    thread(0);
    for (int i = 0; i < 2; i++) {
        pthread_create(&t, 0, thread, 0);
        pthread_join(t, 0);
    }
}
//#File: a.c
static __thread _Alignas(A) char aligned[A] = "text";
static __thread char zero[100];
int check(void) {
    char *volatile p = aligned;
    int wrong = (unsigned long)p % A != 0 || p[0] != 't' || p[4] || zero[99];
    p[4] = zero[99] = 1;
    return wrong;
}
//#File: large.c
static __thread char large[1 << 20], begin[1 << 16] = "x";
int check(void) {
    for (int i = 0; i < 1 << 20; i++) if (large[i]++) return 1;
    return begin[0]++ != 'x' || begin[65535]++;
}
