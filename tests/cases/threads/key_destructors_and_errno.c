// Thread-specific keys are destroyed at the end of a thread; each thread has an errno of its own.
//#Spec: 44
//#Expect: destroyed value, errno of thread 13, errno of main 2
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
static pthread_key_t key;
static void destroy(void *value) { printf("destroyed %s, ", (char *)value); }
static void *thread(void *unused) {
    pthread_setspecific(key, "value");
    errno = 13;
    return (void *)(long)errno;
}
int main(void) {
    pthread_t t;
    void *result;
    errno = 2;
    pthread_key_create(&key, destroy);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, &result);
    printf("errno of thread %d, errno of main %d\n", (int)(long)result, errno);
}
