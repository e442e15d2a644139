// A library loaded by path, then found by a search, is one object, and known by name from then on.
//#Spec: 11, 12, 19
//#Make: mkdir other
//#Lib: libfoo.so = foo.c
//#Lib: other/libbar.so = bar.c -lfoo
//#Prog: -lfoo other/libbar.so
//#Env: LD_PRELOAD={dir}/libfoo.so
//#Expect: constructed
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("constructed"); }
//#File: bar.c
int bar;
