// Variables can be used in destructors of thread keys, for the first time too, in atexit handlers and in destructors.
//#Spec: 45
//#Lib: libfoo.so = foo.c
//#Expect: key destructor: 7
//#Expect: key destructor: 8
//#Expect: atexit: 7
//#Expect: destructor: 8
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static int *(*address)(void);
static pthread_key_t key;
static void destroy(void *value) {
    printf("key destructor: %d\n", (*address())++);
    if (value == (void *)1) pthread_setspecific(key, (void *)2);
}
static void *thread(void *unused) { pthread_setspecific(key, (void *)1); return 0; }
static void handler(void) { printf("atexit: %d\n", (*address())++); }
int main(void) {
    pthread_t t;
    atexit(handler);
    address = (int *(*)(void))dlsym(dlopen("./libfoo.so", RTLD_NOW), "address");
    pthread_key_create(&key, destroy);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
}
//#File: foo.c
#include <stdio.h>
static __thread int variable = 7;
int *address(void) { return &variable; }
__attribute__((destructor)) static void fini(void) { printf("destructor: %d\n", variable); }
