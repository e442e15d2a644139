// A library loaded at run time is read-only after relocation where it asks for that.
//#Spec: 27
//#Lib: libfoo.so = foo.c -Wl,-z,now,-z,relro
//#Expect: read 5, write SIGSEGV
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int *const *p = dlsym(dlopen("./libfoo.so", RTLD_NOW), "pointers");
    printf("read %d, ", *p[600]);
    fflush(stdout);
    if (!fork()) { ((int **)p)[600] = 0; _exit(0); }
    int status;
    wait(&status);
    puts(WIFSIGNALED(status) ? "write SIGSEGV" : "write worked");
}
//#File: foo.c
int value = 5;
int *const pointers[2048] = { [600] = &value };
