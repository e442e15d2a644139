// exit in a library's constructor runs the destructors of what was constructed before, not its own.
//#Spec: 49
//#Lib: libdone.so = lib.c -DN='"done"'
//#Lib: libexits.so = lib.c -DN='"exits"' -DEXIT -ldone
//#Lib: liblater.so = lib.c -DN='"later"' -lexits
//#Prog: -llater
//#Expect: +done +exits -done
//#Expect-exit: 5
#include <stdio.h>
int main(void) { printf("main "); }
//#File: lib.c
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void init(void) {
    printf("+%s ", N);
#ifdef EXIT
    exit(5);
#endif
}
__attribute__((destructor)) static void fini(void) { printf("-%s%s", N, *N == 'd' ? "\n" : " "); }
