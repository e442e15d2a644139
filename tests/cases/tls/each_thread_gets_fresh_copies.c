// 200 threads each see the initial values in program and libraries, and change only their own.
//#Spec: 43, 44, 46
//#Lib: libone.so = lib.c -DN=one -DV=1
//#Lib: libtwo.so = lib.c -DN=two -DV=2
//#Prog: -lone -ltwo
//#Expect: 200 of 200
#include <pthread.h>
#include <stdio.h>
_Thread_local int mine = 3, zero;
int one(void), two(void);
static void *thread(void *unused) {
    int good = mine == 3 && zero == 0 && one() && two();
    mine = zero = 99;
    return (void *)(long)good;
}
int main(void) {
    pthread_t t[200];
    void *good;
    long all = 0;
    mine = zero = 50, one(), two();
    for (int i = 0; i < 200; i++) pthread_create(t + i, 0, thread, 0);
    for (int i = 0; i < 200; i++) pthread_join(t[i], &good), all += (long)good;
    printf("%ld of 200\n", all);
}
//#File: lib.c
static _Thread_local int value = V, zero[100];
int N(void) {
    int good = value == V && zero[77] == 0;
    value = zero[77] = 99;
    return good;
}
