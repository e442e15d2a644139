// A library is bound to functions, variables and copied variables that the program exports.
//#Spec: 29, 51
//#Lib: libplugin.so = plugin.c
//#Prog: -rdynamic -no-pie
//#Expect: plugin says 42 and changed variable to 9
#include <dlfcn.h>
#include <stdio.h>
int variable = 1;
int function(int n) { return n + 2; }
int main(void) {
    void *h = dlopen("./libplugin.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    fprintf(stdout, "plugin says %d", ((int (*)(void))dlsym(h, "plugin"))());
    fprintf(stdout, " and changed variable to %d\n", variable);
}
//#File: plugin.c
#include <stdio.h>
extern int variable;
int function(int);
extern FILE *const stdout;
int plugin(void) { fflush(stdout); variable = 9; return function(40); }
