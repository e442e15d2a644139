// dlopen and dlsym leave the signal mask alone, and leave no descriptor open.
//#Spec: 50, 52
//#Lib: libfoo.so = foo.c
//#Expect: mask 1, next descriptor 3
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    sigset_t before, after;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, 0);
    int *p = dlsym(dlopen("./libfoo.so", RTLD_NOW), "foo");
    *p = 3;
    sigprocmask(SIG_SETMASK, 0, &after);
    printf("mask %d, next descriptor %d\n", sigismember(&after, SIGUSR1) && !sigismember(&after, SIGUSR2), open("/dev/null", O_RDONLY));
}
//#File: foo.c
_Thread_local int foo;
