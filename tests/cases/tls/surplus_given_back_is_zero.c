// What a library that failed to load had in the surplus of static storage is zero for the next one.
//#Spec: beyond
//#Beyond-musl: musl has no surplus
//#Lib: libhuge.so = huge.c
//#Lib: libone.so = one.c -ftls-model=initial-exec -lhuge
//#Lib: libtwo.so = two.c -ftls-model=initial-exec
//#Expect[musl]: 0
//#Expect[morsel]: 1 0
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    int failed = !dlopen("./libone.so", RTLD_NOW);
    void *two = dlopen("./libtwo.so", RTLD_NOW);
    if (!two) return puts("0"), 0;
    printf("%d %ld\n", failed, *(long *)dlsym(two, "two"));
}
//#File: one.c
extern __thread char huge[];
__thread long one = 0x4141414141414141;
void *use(void) { return &one; }
//#File: huge.c
__thread char huge[1L << 45];
//#File: two.c
__thread long two;
long get(void) { return two; }
