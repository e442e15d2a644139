// The same file gives the same handle, by whatever name: path, hard link, symbolic link, bare name.
//#Spec: 12, 19
//#Lib: libfoo.so = foo.c
//#Make: ln libfoo.so hard.so; ln -s libfoo.so soft.so; mkdir d; cp libfoo.so d/libfoo.so
//#Expect: constructed
//#Expect: 1 1 1 1 1
//#Expect: constructed
//#Expect: copy: 0
//#Expect: ./libfoo.so
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    char cwd[1000];
    void *h = dlopen("./libfoo.so", RTLD_NOW);
    printf("%d %d %d", h == dlopen("./libfoo.so", RTLD_NOW), h == dlopen("./hard.so", RTLD_NOW), h == dlopen("./soft.so", RTLD_NOW));
    snprintf(cwd, sizeof cwd, "/proc/self/cwd/libfoo.so");
    printf(" %d", h == dlopen(cwd, RTLD_NOW));
    printf(" %d\n", h == dlopen("libfoo.so", RTLD_NOW));
    printf("copy: %d\n", h == dlopen("./d/libfoo.so", RTLD_NOW));
    puts(((struct link_map *)h)->l_name);
}
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("constructed"); }
