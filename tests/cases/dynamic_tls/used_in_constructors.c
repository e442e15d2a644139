// A constructor that dlopen runs can use its variables, and what it stores is the thread's own.
//#Spec: 45, 47
//#Lib: libfoo.so = foo.c
//#Expect: 8 in the thread, 7 in main
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static int (*get)(void);
static void *thread(void *unused) {
    get = (int (*)(void))dlsym(dlopen("./libfoo.so", RTLD_NOW), "get");
    printf("%d in the thread, ", get());
    return 0;
}
int main(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    printf("%d in main\n", get());
}
//#File: foo.c
static __thread int variable = 7;
__attribute__((constructor)) static void init(void) { variable++; }
int get(void) { return variable; }
