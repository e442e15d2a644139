// After fork, parent and child each run the destructors.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: destructor
//#Expect: destructor
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    if (fork()) wait(0);
}
//#File: foo.c
#include <unistd.h>
__attribute__((destructor)) static void fini(void) { write(1, "destructor\n", 11); }
