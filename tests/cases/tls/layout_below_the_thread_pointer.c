// The program's block lies nearest the thread pointer; the libraries follow downwards in load order.
//#Spec: 43
//#Lib: libone.so = lib.c -DN=one
//#Lib: libtwo.so = lib.c -DN=two
//#Prog: -lone -ltwo
//#Expect: program -16, one -48, two -80
#include <stdio.h>
static _Thread_local long mine[2] = {1};
long one(void), two(void);
int main(void) {
    char *tp;
    __asm__("mov %%fs:0, %0" : "=r"(tp));
    printf("program %ld, one %ld, two %ld\n", (long)((char *)mine - tp), one(), two());
}
//#File: lib.c
static _Thread_local _Alignas(16) char block[32] = "x";
long N(void) {
    char *tp;
    __asm__("mov %%fs:0, %0" : "=r"(tp));
    return block - tp;
}
