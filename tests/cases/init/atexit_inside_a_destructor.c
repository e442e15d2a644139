// A handler that a destructor registers is not run: atexit is over.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: main program-destructor library-destructor
#include <stdio.h>
#include <stdlib.h>
static void handler(void) { puts("late handler"); }
__attribute__((destructor)) static void fini(void) {
    printf("program-destructor ");
    atexit(handler);
}
int main(void) { printf("main "); }
//#File: foo.c
#include <stdio.h>
__attribute__((destructor)) static void fini(void) { puts("library-destructor"); }
