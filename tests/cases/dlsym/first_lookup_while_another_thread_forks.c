// A child of fork may look up what it wants, also if another thread of its parent was looking something up for the first time.
//#Spec: 54
//#Lib: libleaf.so = leaf.c
//#Prog: -rdynamic -lleaf -pthread
//#Expect: 200 children and grandchildren have found it
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
const char *leaf(void);
static volatile int begun;
static void *look_up(void *delay) {
    begun = 1;
    for (volatile long i = (long)delay; i > 0; i--);
    return dlsym(RTLD_DEFAULT, "leaf");
}
static int child(long number) {
    pthread_t thread;
    void *found;
    Dl_info info;
    int status;
    alarm(20);
    pthread_create(&thread, 0, look_up, (void *)(number * 500));
    while (!begun);
    for (volatile long i = 0; i < 10000; i++);
    pid_t grandchild = fork();
    if (grandchild == 0) {
        alarm(20);
        _exit(dladdr((void *)leaf, &info) && dlsym(RTLD_DEFAULT, "leaf") ? 0 : 1);
    }
    pthread_join(thread, &found);
    waitpid(grandchild, &status, 0);
    return found && status == 0 ? 0 : 1;
}
int main(void) {
    int good = 0, status;
    for (long i = 0; i < 200; i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(child(i));
        waitpid(pid, &status, 0);
        good += status == 0;
    }
    printf("%d children and grandchildren have found it\n", good);
}
//#File: leaf.c
const char *leaf(void) { return "leaf"; }
