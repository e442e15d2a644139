// A library's dlopen searches the program's run path, not its own; what is needed by what it opens is searched along that one's.
//#Spec: 14
//#Make: mkdir mine theirs
//#Lib: mine/libleaf.so = leaf.c
//#Lib: mine/libneeds.so = needs.c -L{dir}/mine -lleaf -Wl,-rpath,{dir}/mine
//#Lib: libcaller.so = caller.c -Wl,-rpath,{dir}/mine
//#Prog: -L. -lcaller
//#Expect: Error loading shared library libleaf.so: No such file or directory
//#Expect: 7
#include <dlfcn.h>
#include <stdio.h>
void *open_it(const char *);
int main(void) {
    puts(open_it("libleaf.so") ? "found" : dlerror());
    void *h = open_it("mine/libneeds.so");
    if (!h) return puts(dlerror()), 1;
    printf("%d\n", ((int (*)(void))dlsym(h, "needs"))());
}
//#File: leaf.c
int leaf(void) { return 7; }
//#File: needs.c
int leaf(void);
int needs(void) { return leaf(); }
//#File: caller.c
#include <dlfcn.h>
void *open_it(const char *name) { return dlopen(name, RTLD_NOW); }
