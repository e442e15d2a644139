// A signal handler may look something up, also if it interrupts the first lookup of its own thread.
//#Spec: 54
//#Lib: libleaf.so = leaf.c
//#Prog: -rdynamic -lleaf
//#Expect: 400 children have found it twice
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
const char *leaf(void);
static volatile sig_atomic_t handled, found_in_handler;
static void handler(int signal) {
    Dl_info info;
    found_in_handler = dladdr((void *)leaf, &info) && info.dli_sname && !strcmp(info.dli_sname, "leaf");
    handled = 1;
}
static int child(int number) {
    struct itimerval at = {{0, 0}, {0, 30 + number}};
    signal(SIGALRM, handler);
    setitimer(ITIMER_REAL, &at, 0);
    for (volatile int i = 0; i < number % 20 * 1000; i++);
    int found = dlsym(RTLD_DEFAULT, "leaf") != 0;
    while (!handled);
    return found && found_in_handler ? 0 : 1;
}
int main(void) {
    int good = 0, status;
    for (int i = 0; i < 400; i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(child(i));
        waitpid(pid, &status, 0);
        good += status == 0;
    }
    printf("%d children have found it twice\n", good);
}
//#File: leaf.c
const char *leaf(void) { return "leaf"; }
