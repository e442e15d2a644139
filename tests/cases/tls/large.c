// Several MiB of TLS, initialised and not, in program and library.
//#Spec: 41, 43
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: 1 2 0, library 3 0
//#Expect: 1 2 0, library 3 0
#include <pthread.h>
#include <stdio.h>
static _Thread_local int first[500000] = {1, [499999] = 2}, zero[500000];
int library(int);
static void *thread(void *unused) {
    printf("%d %d %d, library %d %d\n", first[0], first[499999], zero[400000], library(0), library(999999));
    return 0;
}
int main(void) {
    pthread_t t;
    thread(0);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
//#File: foo.c
static _Thread_local int data[1000000] = {3};
int library(int n) { return data[n]; }
