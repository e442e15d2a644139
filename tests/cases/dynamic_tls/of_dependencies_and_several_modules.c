// One dlopen brings several modules; a library uses a dependency's variable and a start-up library's, by general dynamic access and descriptors.
//#Spec: 38, 45
//#Lib: libstart.so = start.c
//#Lib: libdep.so = dep.c
//#Lib: libtop.so = top.c -ldep -lstart -Wl,-rpath,{dir}
//#Lib: libtop2.so = top.c -mtls-dialect=gnu2 -ldep -lstart -Wl,-rpath,{dir}
//#Prog: -lstart
//#Expect: 1 2 3
//#Expect: 11 12 3
//#Expect: 1 2 13
//#Expect: thread: 1 2 3
//#Expect: modules: 1 2 3 4
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
extern int started(void);
static void (*show)(void);
static void *thread(void *unused) { printf("thread: "); show(); return 0; }
static int modules(struct dl_phdr_info *i, size_t size, void *data) {
    if (i->dlpi_tls_modid) printf(" %d", (int)i->dlpi_tls_modid);
    return 0;
}
int main(void) {
    started();
    void *a = dlopen("./libtop.so", RTLD_NOW), *b = dlopen("./libtop2.so", RTLD_NOW);
    if (!a || !b) return puts(dlerror()), 1;
    show = (void (*)(void))dlsym(a, "show");
    show();
    ((void (*)(void))dlsym(b, "show"))();
    *(int *)dlsym(a, "in_start") = 1, *(int *)dlsym(b, "in_dep") = 2;
    show();
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    printf("modules:");
    dl_iterate_phdr(modules, 0);
    puts("");
}
//#File: start.c
__thread int in_start = 1;
int started(void) { return in_start; }
//#File: dep.c
__thread int in_dep = 2;
//#File: top.c
#include <stdio.h>
extern __thread int in_start, in_dep;
static __thread int own = 3;
void show(void) {
    printf("%d %d %d\n", in_start, in_dep, own);
    in_start += 10, in_dep += 10, own += 10;
}
