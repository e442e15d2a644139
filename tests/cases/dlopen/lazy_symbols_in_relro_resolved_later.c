// Slots that are read-only after relocation are filled in later, too, and are read-only again; musl crashes there.
//#Spec: 42, beyond
//#Beyond-musl: musl writes to read-only memory
//#Lib: libuse.so = use.c -Wl,-z,lazy -Wl,-z,relro -fno-plt
//#Lib: libdef.so = def.c
//#Expect-signal[musl]: SIGSEGV
//#Expect[morsel]: use 5, data 6, write SIGSEGV
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    void *h = dlopen("./libuse.so", RTLD_LAZY);
    if (!h) return puts(dlerror()), 1;
    dlopen("./libdef.so", RTLD_LAZY | RTLD_GLOBAL);
    printf("use %d, data %d", ((int (*)(void))dlsym(h, "use"))(), *((int *(*)(void))dlsym(h, "data_address"))());
    fflush(stdout);
    if (!fork()) {
        ((void (*)(void))dlsym(h, "write_slot"))();
        _exit(0);
    }
    int status;
    wait(&status);
    printf(", write %s\n", WIFSIGNALED(status) ? "SIGSEGV" : "worked");
}
//#File: use.c
int def(void);
extern int data;
int use(void) { return def(); }
int *data_address(void) { return &data; }
void write_slot(void) {
    void **slot;
    __asm__("lea data@GOTPCREL(%%rip), %0" : "=r"(slot));
    *(void *volatile *)slot = 0;
}
//#File: def.c
int data = 6;
int def(void) { return 5; }
