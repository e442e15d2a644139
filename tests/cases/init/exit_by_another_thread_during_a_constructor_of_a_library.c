// If another thread exits while a library's start-up constructor runs, this one ends, but no further constructor nor main begins.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Lib: libbar.so = bar.c -L. -lfoo -Wl,-rpath,{dir}
//#Prog: -Wl,--no-as-needed -lbar
//#Run: for i in 1 2 3 4 5; do {start}; echo $?; done
//#Expect: destructor
//#Expect: 3
//#Expect: destructor
//#Expect: 3
//#Expect: destructor
//#Expect: 3
//#Expect: destructor
//#Expect: 3
//#Expect: destructor
//#Expect: 3
#include <unistd.h>
int main(void) { write(1, "main\n", 5); usleep(300000); }
//#File: foo.c
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static void *thread(void *unused) { exit(3); }
__attribute__((constructor)) static void init(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    usleep(100000);
}
__attribute__((destructor)) static void fini(void) { usleep(100000); write(1, "destructor\n", 11); }
//#File: bar.c
#include <unistd.h>
__attribute__((constructor)) static void init(void) { write(1, "second\n", 7); }
