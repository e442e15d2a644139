// atexit handlers, also those of libraries, run in reverse order before all destructors.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: main handler-2 handler-1 handler-of-constructor destructor
#include <stdio.h>
#include <stdlib.h>
static void one(void) { printf("handler-1 "); }
static void two(void) { printf("handler-2 "); }
int main(void) {
    atexit(one), atexit(two);
    printf("main ");
}
//#File: foo.c
#include <stdio.h>
#include <stdlib.h>
static void handler(void) { printf("handler-of-constructor "); }
__attribute__((constructor)) static void init(void) { atexit(handler); }
__attribute__((destructor)) static void fini(void) { puts("destructor"); }
