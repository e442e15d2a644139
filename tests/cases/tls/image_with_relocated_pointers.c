// Pointers in the initial image are relocated before the image is copied, for every thread.
//#Spec: 46
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: program library
//#Expect: program library
#include <pthread.h>
#include <stdio.h>
static const char *volatile text[] = {"program"};
static _Thread_local const char *volatile *pointer = text;
const char *library(void);
static void *thread(void *unused) {
    printf("%s %s\n", *pointer, library());
    return 0;
}
int main(void) {
    pthread_t t;
    thread(0);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
//#File: foo.c
static const char *volatile text[] = {"library"};
static _Thread_local const char *volatile *pointer = text;
const char *library(void) { return *pointer; }
