// fork in a threaded program, wait, vfork and exec work as under musl.
//#Spec: 61
//#Expect: child 7, shell 8, thread 9
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void *thread(void *unused) {
    int status;
    if (!fork()) _exit(9);
    wait(&status);
    return (void *)(long)WEXITSTATUS(status);
}
int main(void) {
    int status;
    void *result;
    pthread_t t;
    if (!fork()) exit(7);
    wait(&status);
    printf("child %d, ", WEXITSTATUS(status));
    status = system("exit 8");
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, &result);
    printf("shell %d, thread %d\n", WEXITSTATUS(status), (int)(long)result);
}
