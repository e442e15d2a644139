// General-dynamic, local-dynamic, initial-exec and local-exec accesses reach the right variables.
//#Spec: 38, 43, 45, 46
//#Lib: libgd.so = lib.c -DN=gd -ftls-model=global-dynamic
//#Lib: libld.so = lib.c -DN=ld -ftls-model=local-dynamic
//#Lib: libie.so = lib.c -DN=ie -ftls-model=initial-exec
//#Prog: -lgd -lld -lie -ftls-model=local-exec
//#Expect: le 10 20, gd 1 2 0, ld 1 2 0, ie 1 2 0
#include <stdio.h>
static _Thread_local int a = 10, b = 20;
void gd(void), ld(void), ie(void);
int main(void) {
    printf("le %d %d", a, b);
    gd(), ld(), ie();
    puts("");
}
//#File: lib.c
#include <stdio.h>
#define STRING(x) #x
#define NAME(x) STRING(x)
static _Thread_local int a = 1, b = 2, c;
void N(void) { printf(", %s %d %d %d", NAME(N), a, b, c); }
