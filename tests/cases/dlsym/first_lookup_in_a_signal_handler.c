// Nothing has been looked up before a signal handler does, nor before a destructor.
//#Spec: 54
//#Lib: libleaf.so = leaf.c
//#Prog: -rdynamic -lleaf
//#Expect: handler: leaf
//#Expect: destructor: leaf
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
const char *leaf(void);
static void tell(const char *where) {
    Dl_info info;
    int known = dladdr((void *)leaf, &info) && info.dli_sname;
    printf("%s: %s\n", where, known ? info.dli_sname : "unknown");
}
static void handler(int signal) { tell("handler"); }
__attribute__((destructor)) static void at_end(void) { tell("destructor"); }
int main(void) {
    if (fork() == 0) {
        signal(SIGUSR1, handler);
        raise(SIGUSR1);
        fflush(stdout);
        _exit(0);
    }
    wait(0);
}
//#File: leaf.c
const char *leaf(void) { return "leaf"; }
