// A bare name is searched along the program's run path; a name with a slash is opened as it is.
//#Spec: 11, 14, 51
//#Make: mkdir sub
//#Lib: sub/libfoo.so = foo.c
//#Rpath: $ORIGIN/sub
//#Expect: bare: loaded
//#Expect: ./libfoo.so: Error loading shared library ./libfoo.so: No such file or directory
//#Expect: sub/libfoo.so: the same
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *bare = dlopen("libfoo.so", RTLD_NOW);
    printf("bare: %s\n", bare ? "loaded" : dlerror());
    printf("./libfoo.so: %s\n", dlopen("./libfoo.so", RTLD_NOW) ? "loaded" : dlerror());
    printf("sub/libfoo.so: %s\n", dlopen("sub/libfoo.so", RTLD_NOW) == bare ? "the same" : "another");
}
//#File: foo.c
int foo;
