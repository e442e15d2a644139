// A library loaded later may use the initial-exec model for variables of the program and of start-up libraries.
//#Spec: 38, 39
//#Lib: libstart.so = start.c
//#Lib: libfoo.so = foo.c
//#Prog: -rdynamic -lstart
//#Expect: 5 6
//#Expect: 5 6
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
__thread int in_program = 5;
extern __thread int in_start;
static int (*sum)(void);
static void *thread(void *unused) { printf("%d %d\n", sum() - in_start, in_start); in_program = 50; return 0; }
int main(void) {
    void *h = dlopen("./libfoo.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    sum = (int (*)(void))dlsym(h, "sum");
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    thread(0);
}
//#File: start.c
__thread int in_start = 6;
//#File: foo.c
extern __thread int in_program __attribute__((tls_model("initial-exec"))), in_start __attribute__((tls_model("initial-exec")));
int sum(void) { return in_program + in_start; }
