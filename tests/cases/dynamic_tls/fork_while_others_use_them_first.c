// A child can use variables for the first time, and fail a dlsym, even if other threads of the parent did just that when it forked.
//#Spec: 45, 50
//#Timeout: 60
//#Lib: libfoo.so = foo.c
//#Expect: 300 children, wrong 0
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static int *(*address)(void);
static volatile int stop;
/* No thread with a pending message ends here: musl may wait for ever then, in pthread_exit and fork. */
static void *user(void *unused) { (*address())++; return 0; }
static void *busy(void *unused) {
    while (!stop) {
        dlsym(RTLD_DEFAULT, "missing");
        pthread_t t;
        if (!pthread_create(&t, 0, user, 0)) pthread_join(t, 0);
    }
    return 0;
}
int main(void) {
    pthread_t t[3];
    int wrong = 0;
    address = (int *(*)(void))dlsym(dlopen("./libfoo.so", RTLD_NOW), "address");
    for (int i = 0; i < 3; i++) pthread_create(t + i, 0, busy, 0);
    for (int i = 0; i < 300 && !wrong; i++) {
        pid_t child = fork();
        if (!child) {
            alarm(3);
            int value = (*address())++;
            pthread_t u;
            pthread_create(&u, 0, user, 0);
            pthread_join(u, 0);
            dlsym(RTLD_DEFAULT, "missing");
            _exit(value != 7 || !dlerror());
        }
        int status;
        waitpid(child, &status, 0);
        wrong += status != 0;
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(t[i], 0);
    printf("300 children, wrong %d\n", wrong);
}
//#File: foo.c
static __thread int variable = 7;
int *address(void) { return &variable; }
