// When main ends by pthread_exit the last thread to end runs the destructors.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: thread destructor
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *thread(void *unused) {
    usleep(50000);
    printf("thread ");
    return 0;
}
int main(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_exit(0);
}
//#File: foo.c
#include <stdio.h>
__attribute__((destructor)) static void fini(void) { puts("destructor"); }
