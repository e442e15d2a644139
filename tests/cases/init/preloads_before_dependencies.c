// Preloaded libraries count as the program's first dependencies.
//#Spec: 21, 47
//#Lib: libpre.so = lib.c -DN='"pre"'
//#Lib: libfoo.so = lib.c -DN='"foo"'
//#Prog: -lfoo
//#Env: LD_PRELOAD={dir}/libpre.so
//#Expect: +pre +foo main -foo -pre
//#Expect:
#include <stdio.h>
int main(void) { printf("main "); }
//#File: lib.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { printf("+%s ", N); }
__attribute__((destructor)) static void fini(void) { printf("-%s%s", N, *N == 'p' ? "\n\n" : " "); }
