// exit in the program's constructor runs the libraries' destructors and not the program's.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: constructor -foo
//#Expect-exit: 6
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void init(void) {
    printf("constructor ");
    exit(6);
}
__attribute__((destructor)) static void fini(void) { puts("program's destructor"); }
int main(void) { puts("main"); }
//#File: foo.c
#include <stdio.h>
__attribute__((destructor)) static void fini(void) { puts("-foo"); }
