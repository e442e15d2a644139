// What the loader knows (list of objects, r_debug, search order) cannot be written to by the program, at any time that its code runs.
//#Spec: beyond
//#Beyond-musl: musl's is ordinary writable data
//#Lib: libstart.so = start.c
//#Lib: liblate.so = late.c
//#Lib: libbroken.so = broken.c
//#Prog: -rdynamic -Wl,--no-as-needed -lstart
//#Run[musl]: true
//#Unchecked[musl]: its forks would wait for its loads for ever
//#Expect[morsel]: constructor: read-only
//#Expect[morsel]: main: read-only
//#Expect[morsel]: late constructor: read-only
//#Expect[morsel]: after dlopen: read-only
//#Expect[morsel]: late one: read-only
//#Expect[morsel]: after failures: read-only
//#Expect[morsel]: after dlclose: read-only
//#Expect[morsel]: after dlsym: read-only
//#Expect[morsel]: thread: read-only
//#Expect[morsel]: child: read-only
//#Expect[morsel]: child after dlopen: read-only
//#Expect[morsel]: child while others load: read-only
//#Expect[morsel]: a write is refused
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static int writable(void *p) {
    char line[1000], mode[5] = "none";
    unsigned long start, end;
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx %4s", &start, &end, mode) == 3 && (unsigned long)p - start < end - start) break;
    fclose(f);
    return mode[1] == 'w';
}
void look(const char *when) {
    struct r_debug **debug = dlsym(RTLD_DEFAULT, "_dl_debug_addr");
    int bad = writable(debug) | writable(*debug);
    for (struct link_map *map = (*debug)->r_map; map; map = map->l_next) bad |= writable(map) | (map->l_name[0] && writable(map->l_name));
    printf("%s: %s\n", when, bad ? "writable" : "read-only");
    fflush(stdout);
}
static sigjmp_buf back;
static void caught(int signal) { siglongjmp(back, 1); }
static void *thread(void *when) { return look(when), NULL; }
static volatile int loading = 1;
static void *load(void *unused) {
    while (loading) dlopen("./missing.so", RTLD_NOW), dlopen("./libbroken.so", RTLD_NOW), dlopen("./liblate.so", RTLD_NOW);
    return 0;
}
static void in_child(const char *when, const char *library) {
    pid_t child = fork();
    if (!child) {
        alarm(5);
        look(when);
        if (library) look(dlopen(library, RTLD_NOW) ? "child after dlopen" : dlerror());
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status) printf("child: %d\n", status);
}
int main(void) {
    pthread_t t;
    look("main");
    void *late = dlopen("./liblate.so", RTLD_NOW);
    look("after dlopen");
    printf("late one: %s\n", writable(late) ? "writable" : "read-only");
    dlopen("./missing.so", RTLD_NOW);
    dlopen("./libbroken.so", RTLD_NOW);
    look("after failures");
    dlclose(late);
    look("after dlclose");
    /* The group of a start-up object is made when it is first asked for. */
    struct r_debug **debug = dlsym(RTLD_DEFAULT, "_dl_debug_addr");
    dlsym((*debug)->r_map->l_next, "nothing");
    look("after dlsym");
    pthread_create(&t, 0, thread, "thread");
    pthread_join(t, 0);
    in_child("child", "./liblate.so");
    pthread_create(&t, 0, load, 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (!child) _exit(writable(late) | !dlopen("./liblate.so", RTLD_NOW) | writable(late));
        int status;
        waitpid(child, &status, 0);
        if (status) printf("child %d: %d\n", i, status);
    }
    in_child("child while others load", 0);
    loading = 0;
    pthread_join(t, 0);
    signal(SIGSEGV, caught);
    if (!sigsetjmp(back, 1)) *(void *volatile *)late = 0, puts("written");
    else puts("a write is refused");
}
//#File: start.c
void look(const char *);
__attribute__((constructor)) static void init(void) { look("constructor"); }
//#File: late.c
void look(const char *);
__attribute__((constructor)) static void init(void) { look("late constructor"); }
//#File: broken.c
extern int nobody;
int *pointer = &nobody;
