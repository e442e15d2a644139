// A constructor may call a library that is constructed later: relocation is complete.
//#Spec: 37, 47
//#Lib: liblate.so = late.c
//#Lib: libearly.so = early.c
//#Prog: -learly -llate -Wl,--allow-shlib-undefined
//#Expect: late function, not constructed
//#Expect: late function, constructed
#include <stdio.h>
void late(void);
int main(void) { late(); }
//#File: early.c
void late(void);
__attribute__((constructor)) static void init(void) { late(); }
//#File: late.c
#include <stdio.h>
static const char *state = "not constructed";
void late(void) { printf("late function, %s\n", state); }
__attribute__((constructor)) static void init(void) { state = "constructed"; }
