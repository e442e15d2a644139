// A thread cannot be cancelled in the middle of a dlopen, nor in its constructors; afterwards it can.
//#Spec: 50
//#Lib: libslow.so = slow.c
//#Prog: -rdynamic
//#Expect: constructor ended 1, cancelled 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
volatile int in_slow, ended;
static void *thread(void *unused) {
    dlopen("./libslow.so", RTLD_NOW);
    pthread_testcancel();
    return 0;
}
int main(void) {
    pthread_t t;
    void *result;
    pthread_create(&t, 0, thread, 0);
    while (!in_slow) usleep(1000);
    pthread_cancel(t);
    pthread_join(t, &result);
    printf("constructor ended %d, cancelled %d\n", ended, result == PTHREAD_CANCELED);
}
//#File: slow.c
#include <unistd.h>
extern volatile int in_slow, ended;
__attribute__((constructor)) static void init(void) { in_slow = 1; usleep(50000); ended = 1; }
