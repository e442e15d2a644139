// A small dlopened library with initial-exec access gets a place in static storage, with its initial values here and in
// threads to come; musl refuses it.
//#Spec: beyond
//#Beyond-musl: a surplus of static storage is kept for such libraries
//#Lib: libfoo.so = foo.c -ftls-model=initial-exec
//#Prog: -pthread
//#Expect-match[musl]: initial-exec TLS resolves to dynamic definition in ./libfoo.so
//#Expect[morsel]: 42 0
//#Expect[morsel]: 42 0
//#Expect[morsel]: dlsym agrees
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static void (*show)(void);
static void *thread(void *unused) { show(); return 0; }
int main(void) {
    void *handle = dlopen("./libfoo.so", RTLD_NOW);
    if (!handle) { puts(dlerror()); return 0; }
    show = (void (*)(void))dlsym(handle, "show");
    show();
    pthread_t id;
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, 0);
    int *(*get)(void) = (int *(*)(void))dlsym(handle, "get");
    puts(get() == dlsym(handle, "value") ? "dlsym agrees" : "dlsym disagrees");
}
//#File: foo.c
#include <stdio.h>
__thread int value = 42;
__thread int zero;
int *get(void) { return &value; }
void show(void) { printf("%d %d\n", value, zero); value = 1; zero = 1; }
