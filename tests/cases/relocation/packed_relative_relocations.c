// DT_RELR in program and library: thousands of pointers, dense and sparse.
//#Spec: 37
//#Musl: 1.2.5
//#Lib: libfoo.so = lib.c -Wl,-z,pack-relative-relocs
//#Prog: -lfoo -Wl,-z,pack-relative-relocs
//#Make: readelf -d libfoo.so prog | grep -c RELRSZ | grep -qx 2
//#Expect: program 4000, library 4000
#include <stdio.h>
#include "table.h"
int library(void);
int main(void) { printf("program %d, library %d\n", good(), library()); }
//#File: table.h
static int target[2];
#define P {&target[0], 1, &target[1]},
#define P10 P P P P P P P P P P
#define P100 P10 P10 P10 P10 P10 P10 P10 P10 P10 P10
static struct { int *a; long n; int *b; } sparse[] = {P100 P100 P100 P100 P100 P100 P100 P100 P100 P100};
static struct { int *a, *n, *b; } dense[] = {
#undef P
#define P {&target[0], &target[1], &target[1]},
    P100 P100 P100 P100 P100 P100 P100 P100 P100 P100};
static __attribute__((noinline)) int good(void) {
    int count = 0;
    for (volatile int i = 0; i < 1000; i++) {
        count += sparse[i].a == target && sparse[i].n == 1;
        count += sparse[i].b == target + 1;
        count += dense[i].a == target && dense[i].n == target + 1;
        count += dense[i].b == target + 1;
    }
    return count;
}
//#File: lib.c
#include "table.h"
int library(void) { return good(); }
