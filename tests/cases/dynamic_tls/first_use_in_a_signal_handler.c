// A variable may be used for the first time in a signal handler, even one that interrupts malloc, on an alternate stack.
//#Spec: 45
//#Lib: libfoo.so = foo.c
//#Expect: 100 threads, wrong 0
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
static int *(*address)(void);
static int wrong;
static volatile __thread int handled;
static void handler(int signal) {
    int *p = address();
    if (++*p != 8 + handled) wrong++;
    handled++;
}
static void *thread(void *unused) {
    stack_t stack = { .ss_sp = malloc(SIGSTKSZ * 4), .ss_size = SIGSTKSZ * 4 };
    sigaltstack(&stack, 0);
    for (int i = 0; i < 1000 || handled < 1; i++) free(malloc(i));
    while (handled < 2) free(malloc(100000));
    return 0;
}
int main(void) {
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
    sigaction(SIGUSR1, &action, 0);
    address = (int *(*)(void))dlsym(dlopen("./libfoo.so", RTLD_NOW), "address");
    for (int i = 0; i < 100; i++) {
        pthread_t t;
        pthread_create(&t, 0, thread, 0);
        for (int k = 0; k < 2; k++) {
            pthread_kill(t, SIGUSR1);
            struct timespec pause = { 0, 300000 };
            nanosleep(&pause, 0);
        }
        /* A standard signal may have been merged with the one before it. */
        struct timespec limit;
        do {
            pthread_kill(t, SIGUSR1);
            clock_gettime(CLOCK_REALTIME, &limit);
            limit.tv_nsec += 1000000;
            if (limit.tv_nsec >= 1000000000) limit.tv_nsec -= 1000000000, limit.tv_sec++;
        } while (pthread_timedjoin_np(t, 0, &limit));
    }
    printf("100 threads, wrong %d\n", wrong);
}
//#File: foo.c
static __thread int variable = 7;
int *address(void) { return &variable; }
