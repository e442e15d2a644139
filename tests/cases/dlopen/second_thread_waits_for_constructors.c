// A thread that opens what another thread is constructing waits for the constructors to end.
//#Spec: 50
//#Lib: libslow.so = slow.c
//#Expect: constructed when opened: 1 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *thread(void *unused) {
    void *h = dlopen("./libslow.so", RTLD_NOW);
    return (void *)(long)*(int *)dlsym(h, "done");
}
int main(void) {
    pthread_t a, b;
    void *x, *y;
    pthread_create(&a, 0, thread, 0);
    usleep(20000);
    pthread_create(&b, 0, thread, 0);
    pthread_join(a, &x);
    pthread_join(b, &y);
    printf("constructed when opened: %ld %ld\n", (long)x, (long)y);
}
//#File: slow.c
#include <unistd.h>
int done;
__attribute__((constructor)) static void init(void) { usleep(100000); done++; }
