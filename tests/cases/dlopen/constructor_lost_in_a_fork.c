// A library whose constructor another thread was running at the time of a fork cannot be opened in the child.
//#Spec: 50
//#Lib: libslow.so = slow.c
//#Prog: -pthread
//#Expect: child: State of ./libslow.so is inconsistent due to multithreaded fork
//#Expect:
//#Expect: parent: opened
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int in_constructor[2];
static void *opener(void *unused) { dlopen("./libslow.so", RTLD_NOW); return 0; }
int main(void) {
    char byte;
    pthread_t thread;
    pipe(in_constructor);
    char fd[12];
    snprintf(fd, sizeof fd, "%d", in_constructor[1]);
    setenv("FD", fd, 1);
    pthread_create(&thread, 0, opener, 0);
    read(in_constructor[0], &byte, 1);
    if (!fork()) {
        alarm(5);
        printf("child: %s\n", dlopen("./libslow.so", RTLD_NOW) ? "opened" : dlerror());
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    printf("parent: %s\n", dlopen("./libslow.so", RTLD_NOW) ? "opened" : dlerror());
}
//#File: slow.c
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void slow(void) {
    write(atoi(getenv("FD")), "x", 1);
    usleep(300000);
}
