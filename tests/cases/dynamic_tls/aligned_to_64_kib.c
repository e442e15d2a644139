// Blocks are aligned to 64 KiB if their segment asks for that, in every thread; in musl only as well as the image happens to be.
//#Spec: 45, beyond
//#Beyond-musl: musl maps the image at a multiple of the page size only, and the blocks lie as it does
//#Unchecked[musl]: depends on where the library is mapped
//#Expect[morsel]: wrong 0
//#Expect[morsel]: wrong 0
//#Expect[morsel]: wrong 0
//#Lib: lib65536.so = a.c -DA=65536
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static int (*check[1])(void);
static void *thread(void *unused) {
    int wrong = 0;
    for (int i = 0; i < 1; i++) wrong += check[i]() != 0;
    printf("wrong %d\n", wrong);
    return 0;
}
int main(void) {
    static const char *names[] = { "./lib65536.so" };
    for (int i = 0; i < 1; i++) {
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
