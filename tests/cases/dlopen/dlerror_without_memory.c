// Without memory for its message dlerror says so, once, and works again when there is some.
//#Spec: 58
//#Beyond-musl: musl's heap may still have room for the message
//#Expect[musl]: Error loading shared library ./missing.so: No such file or directory
//#Expect[morsel]: Dynamic linker failed to allocate memory for error message
//#Expect: then 0
//#Expect: Error loading shared library ./missing.so: No such file or directory
#include <dlfcn.h>
#include <stdio.h>
#include <sys/resource.h>
int main(void) {
    struct rlimit limit, none;
    getrlimit(RLIMIT_AS, &limit);
    none = limit;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_AS, &none);
    dlopen("./missing.so", RTLD_NOW);
    puts(dlerror());
    printf("then %d\n", dlerror() != 0);
    setrlimit(RLIMIT_AS, &limit);
    dlopen("./missing.so", RTLD_NOW);
    puts(dlerror());
}
