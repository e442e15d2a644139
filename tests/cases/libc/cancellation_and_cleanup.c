// Thread cancellation reaches a blocked thread and runs its cleanup handler.
//#Spec: 61
//#Expect: cleaned up, cancelled
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void cleanup(void *unused) { printf("cleaned up, "); }
static void *thread(void *unused) {
    pthread_cleanup_push(cleanup, 0);
    pause();
    pthread_cleanup_pop(0);
    return 0;
}
int main(void) {
    pthread_t t;
    void *result;
    pthread_create(&t, 0, thread, 0);
    usleep(20000);
    pthread_cancel(t);
    pthread_join(t, &result);
    puts(result == PTHREAD_CANCELED ? "cancelled" : "ended");
}
