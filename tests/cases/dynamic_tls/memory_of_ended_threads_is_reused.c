// Two thousand short-lived threads that use a library's variables, and fail dlsym, do not make the process grow.
//#Spec: 45
//#Timeout: 60
//#Lib: libfoo.so = foo.c
//#Expect: size grew by less than 32 MiB: 1, resident by less than 4 MiB: 1
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void (*use)(void);
static void *thread(void *unused) { use(); dlsym(RTLD_DEFAULT, "missing"); return 0; }
static void memory(long *size, long *resident) {
    FILE *f = fopen("/proc/self/statm", "r");
    fscanf(f, "%ld %ld", size, resident);
    fclose(f);
}
static void run(int n) {
    pthread_t t[4];
    for (int i = 0; i < n; i += 4) {
        for (int k = 0; k < 4; k++) pthread_create(t + k, 0, thread, 0);
        for (int k = 0; k < 4; k++) pthread_join(t[k], 0);
    }
}
int main(void) {
    long size[2], resident[2];
    use = (void (*)(void))dlsym(dlopen("./libfoo.so", RTLD_NOW), "use");
    run(400);
    memory(size, resident);
    run(2000);
    memory(size + 1, resident + 1);
    printf("size grew by less than 32 MiB: %d, resident by less than 4 MiB: %d\n", size[1] - size[0] < 8192, resident[1] - resident[0] < 1024);
}
//#File: foo.c
static __thread char buffer[20000] = "x";
void use(void) { for (int i = 0; i < 20000; i++) buffer[i]++; }
