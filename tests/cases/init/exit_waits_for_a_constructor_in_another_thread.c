// exit during a constructor that runs in the main thread waits for that constructor for ever.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: timeout 1 {start}; echo "exit $?"
//#Expect: exit 124
int main(void) {}
//#File: foo.c
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void *thread(void *unused) { exit(3); }
__attribute__((constructor)) static void init(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
__attribute__((destructor)) static void fini(void) { write(1, "destructor\n", 11); }
