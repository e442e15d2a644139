// Variables of a library loaded later have fresh contents in old and new threads: by the general dynamic model, the local dynamic
// model, and TLS descriptors.
//#Spec: 38, 45
//#Lib: libgeneral.so = foo.c -ftls-model=global-dynamic
//#Lib: liblocal.so = foo.c -ftls-model=local-dynamic -fvisibility=hidden
//#Lib: libdescriptors.so = foo.c -mtls-dialect=gnu2
//#Expect: old thread: 7 8 0 1
//#Expect: new thread: 7 8 0 1
//#Expect: main: 7 8 0 1
//#Expect: main again: 17 18 10 1
//#Expect: old thread: 7 8 0 1
//#Expect: new thread: 7 8 0 1
//#Expect: main: 7 8 0 1
//#Expect: main again: 17 18 10 1
//#Expect: old thread: 7 8 0 1
//#Expect: new thread: 7 8 0 1
//#Expect: main: 7 8 0 1
//#Expect: main again: 17 18 10 1
//#Run: for library in general local descriptors; do {start} ./lib$library.so || exit; done
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
static sem_t go;
static void (*show)(const char *);
static void *old(void *unused) { sem_wait(&go); show("old thread"); return 0; }
static void *fresh(void *unused) { show("new thread"); return 0; }
int main(int argc, char **argv) {
    pthread_t t;
    pthread_create(&t, 0, old, 0);
    void *h = dlopen(argv[1], RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    show = (void (*)(const char *))dlsym(h, "show");
    sem_post(&go);
    pthread_join(t, 0);
    pthread_create(&t, 0, fresh, 0);
    pthread_join(t, 0);
    show("main");
    show("main again");
}
//#File: foo.c
#include <stdio.h>
__thread int exported = 7;
static __thread int internal = 8, empty;
static int target;
static __thread int *pointer = &target;
__attribute__((visibility("default"))) void show(const char *who) {
    printf("%s: %d %d %d %d\n", who, exported, internal, empty, pointer == &target);
    exported += 10, internal += 10, empty += 10;
}
