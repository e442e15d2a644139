// The largest PT_GNU_STACK of program and libraries counts.
//#Spec: 9
//#Lib: libone.so = foo.c -Wl,-z,stack-size=2097152
//#Lib: libtwo.so = foo.c -Wl,-z,stack-size=262144
//#Prog: -Wl,-z,stack-size=1048576 -lone -ltwo
//#Expect: 2097152
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
static void *thread(void *unused) {
    pthread_attr_t attributes;
    size_t size;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstacksize(&attributes, &size);
    printf("%zu\n", size & -0x10000);
    return 0;
}
int main(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
//#File: foo.c
int foo;
