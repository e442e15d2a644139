// A process that may not make memory executable which was not mapped so (PR_SET_MDWE) starts, and loads libraries.
//#Spec: 23
//#Lib: libone.so = one.c
//#Lib: libtwo.so = two.c
//#Prog: -lone
//#Expect: one
//#Expect: denied
//#Expect: one
//#Expect: two
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
void one(void);
int main(int argc, char **argv) {
    one();
    fflush(stdout);
    if (prctl(PR_GET_MDWE, 0, 0, 0, 0) == 0) {
        if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)) perror("prctl");
        puts("denied");
        fflush(stdout);
        execl("./prog", "./prog", (char *)0);
        perror("execl");
    }
    void (*two)(void) = (void (*)(void))dlsym(dlopen("./libtwo.so", RTLD_NOW), "two");
    two();
}
//#File: one.c
#include <stdio.h>
void one(void) { puts("one"); }
//#File: two.c
#include <stdio.h>
void two(void) { puts("two"); }
