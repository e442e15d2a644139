// A resolver that calls dlopen while its library is being loaded gets an error, one that forks a child, and the load goes on.
//#Spec: beyond
//#Beyond-musl: musl knows no STT_GNU_IFUNC
//#Lib: libifunc.so = ifunc.c
//#Lib: libother.so = other.c
//#Unchecked[musl]: unsupported
//#Expect[morsel]: Error loading shared library ./libother.so: called by an indirect function while it is being bound
//#Expect[morsel]: chosen 1
//#Expect[morsel]: afterwards 1
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *h = dlopen("./libifunc.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    puts(*(char **)dlsym(h, "message"));
    printf("chosen %d\n", ((int (*)(void))dlsym(h, "call"))());
    printf("afterwards %d\n", dlopen("./libother.so", RTLD_NOW) != 0);
}
//#File: ifunc.c
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>
char *message = "none";
static int one(void) { return 1; }
static int (*resolve(void))(void) {
    if (!dlopen("./libother.so", RTLD_NOW)) {
        char *text = dlerror();
        if (text) message = text;
    }
    if (!fork()) _exit(0);
    wait(0);
    return one;
}
static int chosen(void) __attribute__((ifunc("resolve")));
int call(void) { return chosen(); }
//#File: other.c
int other;
