// Handlers that libraries register with pthread_atfork run round fork.
//#Spec: 47
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: prepare child
//#Expect: prepare parent
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    if (fork()) wait(0);
    puts("");
}
//#File: foo.c
#include <pthread.h>
#include <stdio.h>
static void prepare(void) { printf("prepare "); }
static void parent(void) { printf("parent"); }
static void child(void) { printf("child"); }
__attribute__((constructor)) static void init(void) { pthread_atfork(prepare, parent, child); }
