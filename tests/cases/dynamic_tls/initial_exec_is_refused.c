// Initial-exec access to another late library's variable is refused, and nothing of the library is left.
//#Spec: 39, 52
//#Lib: libdep.so = dep.c
//#Lib: libfoo.so = foo.c -ldep -Wl,-rpath,{dir}
//#Expect-match: ^Error relocating ./libfoo.so: variable: initial-exec TLS resolves to dynamic definition in .*/libdep.so\n0 0\n$
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    puts(dlopen("./libfoo.so", RTLD_NOW) ? "loaded" : dlerror());
    printf("%d %d\n", dlopen("./libdep.so", RTLD_NOW | RTLD_NOLOAD) != 0, dlopen("./libfoo.so", RTLD_NOW | RTLD_NOLOAD) != 0);
}
//#File: dep.c
__thread int variable = 5;
//#File: foo.c
extern __thread int variable __attribute__((tls_model("initial-exec")));
int f(void) { return variable; }
