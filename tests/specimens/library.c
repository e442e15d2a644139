// A library that has every kind of table, and of which no instruction is ever executed.
//#Spec: beyond
//#Make: printf 'V1 { global: exported; *; };' > v.map
//#Lib: libtarget.so = target.c -nostartfiles -Wl,--hash-style=both,--version-script=v.map,-rpath,/nowhere,-z,relro
//#Prog: -ltarget
//#Expect: ok
#include <stdio.h>
int main(void) { puts("ok"); }
//#File: target.c
#include <stdio.h>
int exported = 1, other = 2;
int *pointers[] = {&exported, &other};
static int local;
static int *const locals[] = {&local, &local + 1};
_Thread_local int thread_local_value = 3;
static _Thread_local int thread_local_zero[4];
int *const *get(void) { return puts("never") > 0 ? locals : pointers; }
int *get_tls(int n) { return n ? &thread_local_value : thread_local_zero; }
