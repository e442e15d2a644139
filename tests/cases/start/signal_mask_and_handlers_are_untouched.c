// At the start no signal is blocked and ignored signals stay ignored.
//#Spec: 61
//#Run: trap '' USR1; {start}
//#Expect: blocked 0, SIGUSR1 ignored, SIGSEGV default
#include <signal.h>
#include <stdio.h>
int main(void) {
    sigset_t set;
    struct sigaction usr1, segv;
    int blocked = 0;
    sigprocmask(SIG_BLOCK, 0, &set);
    for (int i = 1; i < 65; i++) blocked += sigismember(&set, i) == 1;
    sigaction(SIGUSR1, 0, &usr1), sigaction(SIGSEGV, 0, &segv);
    printf("blocked %d, SIGUSR1 %s, SIGSEGV %s\n", blocked, usr1.sa_handler == SIG_IGN ? "ignored" : "not ignored",
           segv.sa_handler == SIG_DFL ? "default" : "handled");
}
