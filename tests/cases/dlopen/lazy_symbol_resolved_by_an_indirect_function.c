// A symbol that was left open may be defined later by an indirect function; musl knows none.
//#Spec: beyond
//#Beyond-musl: musl never binds to an STT_GNU_IFUNC symbol, so that the call goes astray
//#Lib: liblazy.so = lazy.c
//#Lib: libifunc.so = ifunc.c
//#Run[musl]: {start} >/dev/null 2>&1; echo $?
//#Expect[musl]: 139
//#Expect[morsel]: 5
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    int (*call)(void) = (int (*)(void))dlsym(dlopen("./liblazy.so", RTLD_LAZY), "call");
    if (!dlopen("./libifunc.so", RTLD_NOW | RTLD_GLOBAL)) return puts(dlerror()), 1;
    printf("%d\n", call());
}
//#File: lazy.c
int indirect(void);
int call(void) { return indirect(); }
//#File: ifunc.c
static int five(void) { return 5; }
static int (*resolve(void))(void) { return five; }
int indirect(void) __attribute__((ifunc("resolve")));
