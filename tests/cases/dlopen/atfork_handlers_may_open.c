// Handlers of pthread_atfork may call dlopen, whether registered before or after the first dlopen.
//#Spec: 50
//#Lib: libone.so = one.c
//#Lib: libtwo.so = two.c
//#Lib: libthree.so = one.c
//#Expect: prepared 1
//#Expect: child 1
//#Expect: parent 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static void prepare(void) { printf("prepared %d\n", dlopen("./libtwo.so", RTLD_NOW) != 0); fflush(stdout); }
static int parent_ok;
static void parent(void) { parent_ok = dlopen("./libthree.so", RTLD_NOW) != 0; }
static void child(void) { alarm(5); parent(); }
int main(void) {
    alarm(5);
    pthread_atfork(prepare, parent, child);
    dlopen("./libone.so", RTLD_NOW);
    if (!fork()) {
        printf("child %d\n", parent_ok);
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    printf("parent %d\n", parent_ok);
}
//#File: one.c
int one;
//#File: two.c
int two;
