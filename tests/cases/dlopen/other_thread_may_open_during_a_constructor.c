// While one thread is in a constructor, another one can open and construct something else.
//#Spec: 50
//#Lib: libslow.so = slow.c
//#Lib: libquick.so = quick.c
//#Prog: -rdynamic
//#Expect: quick during slow: 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
volatile int in_slow, quick;
static void *thread(void *unused) { return dlopen("./libslow.so", RTLD_NOW); }
int main(void) {
    pthread_t t;
    void *result;
    pthread_create(&t, 0, thread, 0);
    while (!in_slow) usleep(1000);
    dlopen("./libquick.so", RTLD_NOW);
    pthread_join(t, &result);
    printf("quick during slow: %d\n", *(int *)dlsym(result, "seen"));
}
//#File: slow.c
#include <unistd.h>
extern volatile int in_slow, quick;
int seen;
__attribute__((constructor)) static void init(void) {
    in_slow = 1;
    for (int i = 0; i < 2000 && !quick; i++) usleep(1000);
    seen = quick;
}
//#File: quick.c
extern volatile int quick;
__attribute__((constructor)) static void init(void) { quick = 1; }
