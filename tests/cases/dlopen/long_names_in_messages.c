// Messages may be long, and hold whatever bytes the name has.
//#Spec: 58
//#Expect: 5000 1 1
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    char name[5001];
    memset(name, 'x', 5000);
    name[5000] = 0;
    name[0] = '\t', name[1] = '\xff', name[2] = '%';
    dlsym(RTLD_DEFAULT, name);
    char *text = dlerror();
    char *again = dlopen("missing\x01\xc3.so", RTLD_NOW) ? 0 : dlerror();
    printf("%zu %d %d\n", strlen(name), text && 1, again && strstr(again, "missing\x01\xc3.so") != 0);
}
