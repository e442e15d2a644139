// With a foreign _start, libc is relocated and usable: malloc, stdio, getenv and threads.
//#Spec: 47, 61
//#Prog: -nostartfiles
//#Env: MARK=mark
//#Expect: malloc ok, mark, thread 42
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *thread(void *argument) { return (char *)argument + 1; }
void begin(void) {
    pthread_t t;
    void *result = 0;
    char *mark = getenv("MARK");
    pthread_create(&t, 0, thread, (void *)41);
    pthread_join(t, &result);
    printf("malloc %s, %s, thread %d\n", malloc(100000) ? "ok" : "failed", mark ? mark : "unset", (int)(long)result);
    exit(0);
}
__asm__(".globl _start\n_start: and $-16, %rsp\n call begin\n");
