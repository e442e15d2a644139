// TLS without an image in the file is zero in every thread.
//#Spec: 43
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: 0 0
//#Expect: 0 0
#include <pthread.h>
#include <stdio.h>
static _Thread_local int zero[1000];
int library(void);
static void *thread(void *unused) {
    int sum = 0;
    for (int i = 0; i < 1000; i++) sum += zero[i], zero[i] = 1;
    printf("%d %d\n", sum, library());
    return 0;
}
int main(void) {
    pthread_t t;
    thread(0);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
//#File: foo.c
static _Thread_local int zero[1000];
int library(void) {
    int sum = 0;
    for (int i = 0; i < 1000; i++) sum += zero[i], zero[i] = 1;
    return sum;
}
