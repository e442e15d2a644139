// Large zeroed thread-local storage of a library takes no memory in threads that do not use it, and works in those that do.
//#Spec: 43, 46
//#Lib: libfoo.so = foo.c
//#Lib: liblate.so = late.c
//#Prog: -lfoo
//#Expect: 0 7 0, again 1 8 1
//#Expect: late 5
//#Expect: 0 7 0, again 1 8 1
//#Expect: child: 2
//#Expect: less than 64 MiB: 1
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int count(int), value(void), large(int);
static _Thread_local int own = 3;
static void *use(void *unused) {
    int a = count(8000000), b = value(), c = large(4000000);
    printf("%d %d %d, again %d %d %d\n", a, b, c, count(8000000), value(), large(4000000));
    return 0;
}
static pthread_barrier_t barrier;
static void *idle(void *unused) { own++; pthread_barrier_wait(&barrier); return 0; }
int main(void) {
    pthread_t t[50];
    use(0);
    void *h = dlopen("./liblate.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    printf("late %d\n", ((int (*)(void))dlsym(h, "late"))());
    pthread_create(t, 0, use, 0);
    pthread_join(t[0], 0);
    pthread_barrier_init(&barrier, 0, 51);
    for (int i = 0; i < 50; i++) pthread_create(t + i, 0, idle, 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 50; i++) pthread_join(t[i], 0);
    fflush(stdout);
    if (!fork()) _exit(count(8000000));
    int status;
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("less than 64 MiB: %d\n", usage.ru_maxrss < 64 << 10);
}
//#File: foo.c
static _Thread_local char zero[8 << 20], more[8 << 20];
static _Thread_local int initialised = 7;
int count(int n) { return zero[n]++; }
int value(void) { return initialised++; }
int large(int n) { return more[n]++; }
//#File: late.c
static _Thread_local int five = 5;
int late(void) { return five; }
