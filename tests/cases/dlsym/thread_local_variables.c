// dlsym of a thread-local variable is its address for the calling thread, at start-up libraries and later ones alike.
//#Spec: 54
//#Lib: libstart.so = lib.c -DNAME=a
//#Lib: liblater.so = lib.c -DNAME=b
//#Prog: -lstart
//#Expect: start-up: 7, own 1, later: 7
//#Expect: start-up: 7, own 1, later: 7
//#Expect: different 1 1, main's 8 8
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
extern _Thread_local int a;
static void *h;
static int *addresses[2][2];
static void *thread(void *n) {
    int *p = dlsym(RTLD_DEFAULT, "a"), *q = dlsym(h, "b");
    printf("start-up: %d, own %d, later: %d\n", *p, p == &a, *q);
    ++*p, ++*q;
    addresses[(long)n][0] = p, addresses[(long)n][1] = q;
    return 0;
}
int main(void) {
    pthread_t t;
    h = dlopen("./liblater.so", RTLD_NOW);
    thread(0);
    pthread_create(&t, 0, thread, (void *)1);
    pthread_join(t, 0);
    printf("different %d %d, main's %d %d\n", addresses[0][0] != addresses[1][0], addresses[0][1] != addresses[1][1], *addresses[0][0], *addresses[0][1]);
}
//#File: lib.c
_Thread_local int NAME = 7;
