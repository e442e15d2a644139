// A preloaded library with TLS takes part like any other, also when it interposes a thread-local variable.
//#Spec: 21, 43
//#Lib: libfoo.so = foo.c
//#Lib: libpre.so = pre.c
//#Prog: -lfoo
//#Env: LD_PRELOAD={dir}/libpre.so
//#Expect: preload 40
#include <stdio.h>
const char *text(void);
int value(void);
int main(void) { printf("%s %d\n", text(), value()); }
//#File: foo.c
_Thread_local const char *name = "library";
const char *text(void) { return name; }
int value(void) { return 0; }
//#File: pre.c
static _Thread_local int number = 40;
_Thread_local const char *name = "preload";
int value(void) { return number; }
