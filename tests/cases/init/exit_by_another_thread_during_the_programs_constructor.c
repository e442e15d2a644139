// If another thread exits while the program's own constructor runs, which is the last, main begins all the same.
//#Spec: 49
//#Expect: main
//#Expect: destructor
//#Expect-exit: 3
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static void *thread(void *unused) { exit(3); }
__attribute__((constructor)) static void init(void) {
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    usleep(100000);
}
__attribute__((destructor)) static void fini(void) { usleep(200000); write(1, "destructor\n", 11); }
int main(void) { write(1, "main\n", 5); pause(); }
