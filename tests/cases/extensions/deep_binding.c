// RTLD_DEEPBIND makes a library prefer its own symbols; musl, which has no such flag, binds to the program's.
//#Spec: beyond
//#Beyond-musl: RTLD_DEEPBIND is a GNU flag
//#Lib: libd.so = d.c
//#Lib: libd2.so = d.c
//#Prog: -rdynamic
//#Expect[musl]: program program
//#Expect[morsel]: program library
#include <dlfcn.h>
#include <stdio.h>
const char *who(void) { return "program"; }
int main(void) {
    const char *(*plain)(void) = (const char *(*)(void))dlsym(dlopen("./libd.so", RTLD_NOW), "ask");
    const char *(*deep)(void) = (const char *(*)(void))dlsym(dlopen("./libd2.so", RTLD_NOW | 8), "ask");
    printf("%s %s\n", plain(), deep());
}
//#File: d.c
const char *who(void) { return "library"; }
const char *ask(void) { return who(); }
