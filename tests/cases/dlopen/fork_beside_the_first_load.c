// Neither a process that forks while another thread loads its first library nor its child waits for ever.
//#Spec: 50
//#Lib: libquick.so = quick.c
//#Prog: -pthread
//#Timeout: 60
//#Expect: hung: 0
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int go, delay;
static void open_it(void) { dlopen("./libquick.so", RTLD_NOW); }
static void *opener(void *unused) {
    while (!go);
    for (int i = 0; i < delay; i++) go = 1;
    open_it();
    return 0;
}
static int is_hung(pid_t child) {
    int status;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status);
}
static pid_t child(void) {
    pid_t child = fork();
    if (!child) {
        alarm(5);
        // Either it is there, or what the other thread was doing is in the way.
        open_it();
        _exit(0);
    }
    return child;
}
static void race(void) {
    pthread_t thread;
    alarm(20);
    pthread_create(&thread, 0, opener, 0);
    usleep(100);
    go = 1;
    int hung = is_hung(child()) + is_hung(child());
    pthread_join(thread, 0);
    open_it();
    if (hung) abort();
    _exit(0);
}
int main(void) {
    int hung = 0;
    for (int i = 0; i < 300; i++) {
        delay = i * 200;
        pid_t racer = fork();
        if (!racer) race();
        hung += is_hung(racer);
    }
    printf("hung: %d\n", hung);
}
//#File: quick.c
int quick = 5;
