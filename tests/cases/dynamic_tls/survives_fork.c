// In the child of a fork, the thread keeps its variables, however many threads the child makes and ends.
//#Spec: 45
//#Lib: libfoo.so = foo.c
//#Expect: main forks: 17 18, pending Symbol not found: missing
//#Expect: thread forks: 17 18, pending Symbol not found: missing
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
static int *(*address)(void);
static void *user(void *unused) { ++*address(); dlsym(RTLD_DEFAULT, "other"); return 0; }
static void *forks(void *who) {
    int *p = address();
    *p = 17;
    fflush(stdout);
    if (!fork()) {
        alarm(8);
        dlsym(RTLD_DEFAULT, "missing");
        for (int i = 0; i < 300; i++) {
            pthread_t t;
            pthread_create(&t, 0, user, 0);
            pthread_join(t, 0);
            /* Fills whatever has been given back. */
            memset(mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 0xff, 65536);
        }
        int first = *address();
        ++*p;
        int second = *address();
        const char *text = dlerror();
        printf("%s forks: %d %d, pending %s\n", (char *)who, first, second, text);
        fflush(stdout);
        _exit(0);
    }
    int status;
    wait(&status);
    if (WIFSIGNALED(status)) printf("child killed by signal %d\n", WTERMSIG(status));
    return 0;
}
int main(void) {
    pthread_t t;
    address = (int *(*)(void))dlsym(dlopen("./libfoo.so", RTLD_NOW), "address");
    forks("main");
    pthread_create(&t, 0, forks, "thread");
    pthread_join(t, 0);
}
//#File: foo.c
static __thread int variable = 7;
int *address(void) { return &variable; }
