// The canary at %fs:0x28 serves code with stack protection in program, library and threads.
//#Spec: 44
//#Lib: libfoo.so = foo.c -fstack-protector-all
//#Prog: -fstack-protector-all -lfoo -pthread
//#Expect: library library
#include <pthread.h>
#include <stdio.h>
const char *f(char *);
static void *thread(void *buffer) { return (void *)f(buffer); }
int main(void) {
    char one[16], two[16];
    pthread_t t;
    void *result;
    pthread_create(&t, 0, thread, one);
    pthread_join(t, &result);
    printf("%s %s\n", (char *)result, f(two));
}
//#File: foo.c
#include <string.h>
const char *f(char *buffer) {
    char local[16];
    strcpy(local, "library");
    return strcpy(buffer, local);
}
