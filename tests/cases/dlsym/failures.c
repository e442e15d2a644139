// dlsym's messages: a missing symbol, an invalid handle, and no zero valued symbols.
//#Spec: 54, 58
//#Expect: Symbol not found: not_there
//#Expect: Symbol not found: 
//#Expect: Invalid library handle 0xADDR
//#Expect: Symbol not found: not_there
//#Normalise: addresses
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    int local;
    void *p[] = { dlsym(RTLD_DEFAULT, "not_there") };
    puts(p[0] ? "found" : dlerror());
    puts(dlsym(RTLD_DEFAULT, "") ? "found" : dlerror());
    puts(dlsym(&local, "puts") ? "found" : dlerror());
    puts(dlsym(RTLD_NEXT, "not_there") ? "found" : dlerror());
}
