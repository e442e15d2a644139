// The first failure of a dlopen is the one reported, whatever follows it.
//#Spec: 35, 51
//#Lib: libsym.so = sym.c
//#Expect-match: ^Error relocating ./libsym.so: missing[123]: symbol not found\n$
#include <dlfcn.h>
#include <stdio.h>
int main(void) { puts(dlopen("./libsym.so", RTLD_NOW) ? "loaded" : dlerror()); }
//#File: sym.c
extern int missing1(void), missing2(void), missing3;
int sym(void) { return missing1() + missing2() + missing3; }
