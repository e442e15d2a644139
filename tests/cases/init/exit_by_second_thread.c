// exit called by another thread than the main one runs all destructors.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: destructor
//#Expect-exit: 3
#include <pthread.h>
#include <stdlib.h>
static void *thread(void *unused) { exit(3); }
int main(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
//#File: foo.c
#include <stdio.h>
__attribute__((destructor)) static void fini(void) { puts("destructor"); }
