// dladdr knows the loader's own functions as libc's, by name.
//#Spec: 55
//#Expect: 1 dlopen
//#Expect: 1 dlsym
//#Expect: same object as puts: 1
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    Dl_info info = { 0 }, other = { 0 };
    int found = dladdr((void *)dlopen, &info);
    printf("%d %s\n", found, info.dli_sname ? info.dli_sname : "?");
    found = dladdr((void *)dlsym, &info);
    printf("%d %s\n", found, info.dli_sname ? info.dli_sname : "?");
    dladdr((void *)puts, &other);
    printf("same object as puts: %d\n", info.dli_fname && !strcmp(info.dli_fname, other.dli_fname) && info.dli_fbase == other.dli_fbase);
}
