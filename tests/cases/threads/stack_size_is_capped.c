// No more than 8 MiB are taken from PT_GNU_STACK, and small sizes do not lower the default.
//#Spec: 9
//#Lib: libfoo.so = foo.c -Wl,-z,stack-size=4096
//#Prog: -Wl,-z,stack-size=67108864 -lfoo
//#Expect: 8388608
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
