// A thousand modules and a hundred threads, half of them older than the modules.
//#Spec: 45
//#Timeout: 60
//#Lib: lib0.so = lib.c
//#Make: mkdir -p m; for i in $(seq 0 999); do cp lib0.so m/$i.so; done
//#Expect: wrong 0
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
static sem_t go;
static int wrong;
static int *(*address[1000])(void);
static void *thread(void *n) {
    if ((long)n < 50) sem_wait(&go);
    for (int i = 0; i < 1000; i++) {
        int m = (i * 7 + (long)n * 13) % 1000;
        int *p = address[m]();
        if ((*p)++ != 7) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
    return 0;
}
int main(void) {
    pthread_t t[100];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    for (long i = 0; i < 50; i++) pthread_create(t + i, &attr, thread, (void *)i);
    for (int i = 0; i < 1000; i++) {
        char name[30];
        snprintf(name, sizeof name, "m/%d.so", i);
        void *h = dlopen(name, RTLD_NOW);
        if (!h) return puts(dlerror()), 1;
        address[i] = (int *(*)(void))dlsym(h, "address");
    }
    for (long i = 50; i < 100; i++) pthread_create(t + i, &attr, thread, (void *)i);
    for (int i = 0; i < 50; i++) sem_post(&go);
    for (int i = 0; i < 100; i++) pthread_join(t[i], 0);
    thread((void *)100);
    printf("wrong %d\n", wrong);
}
//#File: lib.c
static __thread int variable = 7;
int *address(void) { return &variable; }
