// A library with packed relative relocations, TLS descriptors and only a SysV hash table, never executed.
//#Spec: beyond
//#Lib: libtarget.so = target.c -nostartfiles -mtls-dialect=gnu2 -Wl,--hash-style=sysv,-z,pack-relative-relocs
//#Prog: -ltarget
//#Expect: ok
#include <stdio.h>
int main(void) { puts("ok"); }
//#File: target.c
#include <stdio.h>
static int local;
static int *sparse[] = {&local, 0, 0, &local, 0, &local}, *dense[] = {&local, &local, &local, &local};
_Thread_local int thread_local_value = 3;
static _Thread_local int thread_local_zero[4];
int *get(int n) { return puts("never") > 0 ? sparse[n] : dense[n]; }
int *get_tls(int n) { return n ? &thread_local_value : thread_local_zero; }
