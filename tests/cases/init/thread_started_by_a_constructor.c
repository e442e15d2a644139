// A constructor may start a thread, which runs while the constructor waits for it.
//#Spec: 47
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: thread constructor main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.c
#include <pthread.h>
#include <stdio.h>
static void *thread(void *unused) {
    printf("thread ");
    return 0;
}
__attribute__((constructor)) static void init(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    printf("constructor ");
}
