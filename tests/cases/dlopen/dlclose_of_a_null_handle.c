// A null handle and RTLD_NEXT are invalid handles for dlclose and dlinfo.
//#Spec: 53, 56
//#Expect: 1 Invalid library handle 0
//#Expect: 1 Invalid library handle 0xffffffffffffffff
//#Expect: -1 Invalid library handle 0
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *p;
    printf("%d ", dlclose(0));
    puts(dlerror());
    printf("%d ", dlclose((void *)-1));
    puts(dlerror());
    printf("%d ", dlinfo(0, RTLD_DI_LINKMAP, &p));
    puts(dlerror());
}
