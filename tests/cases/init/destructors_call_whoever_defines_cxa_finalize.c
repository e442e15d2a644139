// Compilers have each library call __cxa_finalize when it is destructed: the first definition in the scope.
//#Spec: 49
//#Lib: liba.so = a.c
//#Lib: libfinal.so = final.c
//#Prog: program = main.c final.c -rdynamic -Wl,--no-as-needed -la
//#Prog: library = main.c -Wl,--no-as-needed -la -lfinal
//#Prog: libc = main.c -Wl,--no-as-needed -la
//#Only: interp
//#Run: for prog in program library libc; do echo $prog; ./$prog; done
//#Expect-match: (?s)^program\n(finalize\n)+library\n(finalize\n)+libc\n$
int main(void) {}
//#File: a.c
int a(void) { return 1; }
//#File: final.c
#include <unistd.h>
void __cxa_finalize(void *library) { write(1, "finalize\n", 9); }
