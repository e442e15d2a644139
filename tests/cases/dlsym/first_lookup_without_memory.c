// A process without memory may be told that nothing can be looked up, but goes on, and finds everything as soon as there is some.
//#Spec: 54
//#Lib: libleaf.so = leaf.c
//#Make: for i in $(seq 300); do cp libleaf.so libleaf$i.so; done
//#Make: musl-gcc -O1 main.c -o prog -rdynamic -L. -Wl,--no-as-needed $(seq -f -lleaf%g 300) -Wl,-rpath,'$ORIGIN' -Wl,--dynamic-linker={interp}
//#Prog: none
//#Expect: 80 of 80 go on
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
const char *leaf(void);
static long address_space(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    fscanf(file, "%ld", &pages);
    fclose(file);
    return pages * 4096;
}
static int child(long more) {
    struct rlimit before, limit;
    Dl_info info;
    getrlimit(RLIMIT_AS, &before);
    limit = before;
    limit.rlim_cur = address_space() + more;
    setrlimit(RLIMIT_AS, &limit);
    int told = dlsym(RTLD_DEFAULT, "leaf") || dlerror();
    setrlimit(RLIMIT_AS, &before);
    int found = dlsym(RTLD_DEFAULT, "leaf") == leaf && dladdr(leaf, &info) && !strcmp(info.dli_sname, "leaf");
    return told && found ? 0 : 1;
}
int main(void) {
    int good = 0, status;
    for (long i = 0; i < 80; i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(child(i * 20480));
        waitpid(pid, &status, 0);
        good += status == 0;
    }
    printf("%d of 80 go on\n", good);
}
//#File: leaf.c
const char *leaf(void) { return "leaf"; }
