// The child of a fork can dlopen, also when another thread of the parent was in a dlopen's constructor.
//#Spec: 50
//#Lib: libslow.so = slow.c
//#Lib: libquick.so = quick.c
//#Prog: -rdynamic
//#Expect: before: 5
//#Expect: during: 5
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
volatile int in_slow, go_on;
static void child(const char *when) {
    fflush(stdout);
    if (!fork()) {
        alarm(5);
        void *h = dlopen("./libquick.so", RTLD_NOW);
        printf("%s: %d\n", when, h ? *(int *)dlsym(h, "quick") : 0);
        fflush(stdout);
        _exit(0);
    }
    wait(0);
}
static void *thread(void *unused) { return dlopen("./libslow.so", RTLD_NOW); }
int main(void) {
    pthread_t t;
    child("before");
    pthread_create(&t, 0, thread, 0);
    while (!in_slow) usleep(1000);
    child("during");
    go_on = 1;
    pthread_join(t, 0);
}
//#File: slow.c
#include <unistd.h>
extern volatile int in_slow, go_on;
__attribute__((constructor)) static void init(void) { in_slow = 1; while (!go_on) usleep(1000); }
//#File: quick.c
int quick;
__attribute__((constructor)) static void init(void) { quick = 5; }
