// dlerror gives each thread its own last failure, once; success does not clear it, and the text survives later calls.
//#Spec: 58
//#Expect: main: Error loading shared library a.so: No such file or directory
//#Expect: main: nothing
//#Expect: thread: nothing
//#Expect: thread: Error loading shared library c.so: No such file or directory
//#Expect: main: Symbol not found: b
//#Expect: after success: Error loading shared library d.so: No such file or directory
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static void show(const char *who) { char *text = dlerror(); printf("%s: %s\n", who, text ? text : "nothing"); }
static void *thread(void *unused) {
    show("thread");
    dlopen("b.so", RTLD_NOW);
    dlopen("c.so", RTLD_NOW);
    show("thread");
    return 0;
}
int main(void) {
    dlopen("a.so", RTLD_NOW);
    show("main");
    show("main");
    dlsym(RTLD_DEFAULT, "b");
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    show("main");
    dlopen("d.so", RTLD_NOW);
    dlopen(0, RTLD_NOW);
    dlsym(RTLD_DEFAULT, "puts");
    show("after success");
}
