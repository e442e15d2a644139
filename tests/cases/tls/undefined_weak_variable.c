// A weak thread-local variable that nobody defines is no error as long as it is not used.
//#Spec: 35
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Beyond-musl: stock musl dies in the loader
//#Expect-signal[musl]: SIGSEGV
//#Expect[morsel]: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.c
__attribute__((weak)) extern _Thread_local int nobody;
int f(void) { return nobody; }
