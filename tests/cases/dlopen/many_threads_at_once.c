// Eight threads open, look up, iterate, make threads and fork at once, without deadlock.
//#Spec: 50
//#Timeout: 60
//#Lib: lib0.so = lib.c
//#Make: for i in $(seq 1 64); do cp lib0.so lib$i.so; done
//#Expect: done, wrong 0
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static int wrong;
static pthread_barrier_t barrier;
static int check(struct dl_phdr_info *info, size_t size, void *data) {
    if (!info->dlpi_name || (info->dlpi_tls_modid && !info->dlpi_tls_data)) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    return 0;
}
static void use(int i) {
    char name[20];
    snprintf(name, sizeof name, "./lib%d.so", i);
    void *h = dlopen(name, RTLD_NOW | (i % 3 ? 0 : RTLD_GLOBAL));
    int (*f)(void) = h ? (int (*)(void))dlsym(h, "count") : 0;
    if (!f || f() < 8) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}
static void *short_lived(void *n) { use((long)n % 64); return 0; }
static void *thread(void *arg) {
    long id = (long)arg;
    for (long i = 0; i < 150; i++) {
        long n = i * (id + 3) + id;
        use(n % 64);
        if (dlsym(RTLD_DEFAULT, "nothing") || !dlerror()) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
        dlopen("./missing.so", RTLD_NOW);
        dl_iterate_phdr(check, 0);
        if (i % 4 == 0) {
            pthread_t t;
            if (!pthread_create(&t, 0, short_lived, (void *)(n + 1))) pthread_join(t, 0);
        }
        if (i % 16 == id) {
            pid_t child = fork();
            if (!child) {
                alarm(20);
                wrong = 0;
                /* The others may have been lost in a constructor. */
                use(64);
                dlopen("./missing.so", RTLD_NOW);
                if (!dlerror()) wrong++;
                _exit(wrong);
            }
            int status = 0;
            waitpid(child, &status, 0);
            if (status) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
        }
    }
    /* musl may wait for ever when a thread that had messages ends during a fork. */
    pthread_barrier_wait(&barrier);
    return 0;
}
int main(void) {
    pthread_barrier_init(&barrier, 0, 8);
    pthread_t t[8];
    for (long i = 0; i < 8; i++) pthread_create(t + i, 0, thread, (void *)i);
    for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
    printf("done, wrong %d\n", wrong);
}
//#File: lib.c
static __thread int counter = 7;
static int constructed;
__attribute__((constructor)) static void init(void) { constructed = 1; }
int count(void) { return constructed ? ++counter : 0; }
