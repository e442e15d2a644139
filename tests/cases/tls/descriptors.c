// TLSDESC accesses in libraries, to own and foreign variables, preserve what the convention says.
//#Spec: 38
//#Lib: libvar.so = var.c
//#Lib: libfoo.so = foo.c -mtls-dialect=gnu2 -lvar
//#Make: readelf -r libfoo.so | grep -q TLSDESC
//#Prog: -lfoo -lvar
//#Expect: 5 7 0, sum 46
#include <stdio.h>
int sum(int, int, int, int, int, int);
void show(void);
int main(void) {
    show();
    printf("sum %d\n", sum(1, 2, 3, 4, 5, 6));
}
//#File: var.c
_Thread_local int foreign = 7;
//#File: foo.c
#include <stdio.h>
extern _Thread_local int foreign;
_Thread_local int own = 5;
static _Thread_local int local[100];
void show(void) { printf("%d %d %d, ", own, foreign, local[50]); }
// The arguments stay in registers over the descriptor calls.
int sum(int a, int b, int c, int d, int e, int f) { return own + foreign + foreign + a + b + c + d + e + f + local[3] + 6; }
