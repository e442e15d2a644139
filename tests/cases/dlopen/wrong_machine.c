// A library for another machine is refused; musl does not look.
//#Spec: beyond
//#Beyond-musl: musl maps and relocates what is not for this machine
//#Lib: liba.so = a.c
//#Patch: liba.so ehdr.e_machine = 183
//#Unchecked[musl]: loads it
//#Expect-match[morsel]: ^Error loading shared library ./liba.so: .+\n$
#include <dlfcn.h>
#include <stdio.h>
int main(void) { puts(dlopen("./liba.so", RTLD_NOW) ? "loaded" : dlerror()); }
//#File: a.c
int a;
