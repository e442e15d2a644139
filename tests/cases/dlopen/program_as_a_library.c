// A position-independent executable can be opened; its main is found, and it is constructed.
//#Spec: 51
//#Prog: -O1
//#Prog: other = other.c -pie -fPIE -rdynamic
//#Expect: constructed
//#Expect: 42
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *h = dlopen("./other", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    printf("%d\n", ((int (*)(void))dlsym(h, "main"))());
}
//#File: other.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("constructed"); }
int main(void) { return 42; }
