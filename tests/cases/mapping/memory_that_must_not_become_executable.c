// A process that may not make memory executable which was not mapped so (a filter on mprotect) starts, and loads libraries.
//#Spec: 23
//#Lib: libone.so = one.c
//#Lib: libtwo.so = two.c
//#Prog: -lone
//#Expect: one
//#Expect: denied
//#Expect: one
//#Expect: two
#include <dlfcn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
// linux/filter.h, linux/seccomp.h
struct instruction {
    unsigned short code;
    unsigned char if_true, if_false;
    unsigned value;
};
struct filter {
    unsigned short length;
    struct instruction *instructions;
};
enum { LOAD = 0x20, EQUAL = 0x15, ANY_BIT = 0x45, RETURN = 6, MPROTECT = 10, EXECUTE = 4, THIRD_ARGUMENT = 32 };
static struct instruction instructions[] = {
    {LOAD, 0, 0, 0},
    {EQUAL, 0, 3, MPROTECT},
    {LOAD, 0, 0, THIRD_ARGUMENT},
    {ANY_BIT, 0, 1, EXECUTE},
    {RETURN, 0, 0, 0x5000d}, // EACCES
    {RETURN, 0, 0, 0x7fff0000},
};
void one(void);
int main(int argc, char **argv) {
    one();
    if (argc == 1) {
        struct filter filter = {6, instructions};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &filter)) perror("prctl");
        puts("denied");
        fflush(stdout);
        execl("./prog", "./prog", "again", (char *)0);
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
