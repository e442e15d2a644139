// Every mapping backend gives the same program.
//#Spec: beyond
//#Beyond-musl: stock musl has one way of mapping
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run[musl]: {start}; {start}; {start}
//#Run[morsel]: LD_MORSEL_MAP=auto {start}; LD_MORSEL_MAP=file {start}; LD_MORSEL_MAP=huge {start}
//#Expect: 42 43 0
//#Expect: 42 43 0
//#Expect: 42 43 0
#include <stdio.h>
int f(int);
extern int data;
int main(void) { printf("%d %d %d\n", f(0), data + 1, f(99999)); }
//#File: foo.c
int data = 42;
static int bss[100000];
int f(int n) { return n ? bss[n] : data; }
