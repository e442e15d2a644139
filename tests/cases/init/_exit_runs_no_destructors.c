// _exit and quick_exit run no destructors.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: {start}; echo "exit $?"; {start} quick; echo "exit $?"
//#Expect: exit 4
//#Expect: quick handler
//#Expect: exit 5
#include <stdlib.h>
#include <unistd.h>
static void handler(void) { write(1, "quick handler\n", 14); }
int main(int argc, char **argv) {
    at_quick_exit(handler);
    if (argc > 1) quick_exit(5);
    _exit(4);
}
//#File: foo.c
#include <unistd.h>
__attribute__((destructor)) static void fini(void) { write(1, "destructor\n", 11); }
