// libcrypt., libmagic and libdlx are ordinary names.
//#Spec: 10
//#Lib: libcx.so = lib.c -DN=cx
//#Lib: libmm.so = lib.c -DN=mm
//#Lib: libdl2.so = lib.c -DN=dl2
//#Prog: -lcx -lmm -ldl2
//#Expect: 3
#include <stdio.h>
int cx(void), mm(void), dl2(void);
int main(void) { printf("%d\n", cx() + mm() + dl2()); }
//#File: lib.c
int N(void) { return 1; }
