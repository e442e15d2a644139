// Thread-local relocations against the module itself (symbol 0) and against hidden variables use the own block.
//#Spec: 33, 38
//#Lib: libone.so = lib.c -DN=one -DV=1
//#Lib: libtwo.so = lib.c -DN=two -DV=2
//#Prog: -lone -ltwo
//#Expect: 1 11, 2 12
#include <stdio.h>
void one(int *, int *), two(int *, int *);
int main(void) {
    int a, b, c, d;
    one(&a, &b), two(&c, &d);
    printf("%d %d, %d %d\n", a, b, c, d);
}
//#File: lib.c
__attribute__((visibility("hidden"))) _Thread_local int hidden = V;
static _Thread_local int local = V + 10;
void N(int *a, int *b) { *a = hidden, *b = local; }
