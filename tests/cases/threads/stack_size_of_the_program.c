// The program's PT_GNU_STACK size becomes the default stack size of threads.
//#Spec: 9
//#Prog: -Wl,-z,stack-size=1048576
//#Expect: 1048576
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
