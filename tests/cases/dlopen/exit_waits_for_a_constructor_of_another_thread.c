// exit waits until another thread's dlopen has run its constructor, and runs the destructor.
//#Spec: 49, 50
//#Lib: libslow.so = slow.c
//#Prog: -rdynamic
//#Expect: main exits
//#Expect: constructed
//#Expect: destructed
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
volatile int in_slow;
static void *thread(void *unused) {
    dlopen("./libslow.so", RTLD_NOW);
    pause();
    return 0;
}
int main(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    while (!in_slow) usleep(1000);
    write(1, "main exits\n", 11);
    exit(0);
}
//#File: slow.c
#include <unistd.h>
extern volatile int in_slow;
__attribute__((constructor)) static void init(void) { in_slow = 1; usleep(100000); write(1, "constructed\n", 12); }
__attribute__((destructor)) static void fini(void) { write(1, "destructed\n", 11); }
