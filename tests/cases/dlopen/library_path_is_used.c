// LD_LIBRARY_PATH is searched before the run path, and setenv at run time changes nothing.
//#Spec: 14
//#Make: mkdir a b c
//#Lib: a/libfoo.so = foo.c -DWHO='"a"'
//#Lib: b/libfoo.so = foo.c -DWHO='"b"'
//#Lib: c/libbar.so = foo.c -DWHO='"c"'
//#Rpath: $ORIGIN/b
//#Env: LD_LIBRARY_PATH={dir}/a
//#Expect: a
//#Expect: Error loading shared library libbar.so: No such file or directory
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    setenv("LD_LIBRARY_PATH", "c", 1);
    puts(*(char **)dlsym(dlopen("libfoo.so", RTLD_NOW), "who"));
    puts(dlopen("libbar.so", RTLD_NOW) ? "found" : dlerror());
}
//#File: foo.c
const char *who = WHO;
