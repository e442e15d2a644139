// The texts of dlerror: missing library, missing dependency, missing symbol, no ELF file, empty and truncated files, a folder, an empty name.
//#Spec: 10, 35, 51
//#Lib: libdep.so = dep.c
//#Lib: libneeds.so = needs.c -L. -ldep
//#Lib: libsym.so = sym.c
//#Make: rm libdep.so; echo text > text.so; : > empty.so; head -c 40 libsym.so > cut.so; head -c 200 libsym.so > cut2.so; mkdir folder.so; printf '%4096s' ' ' > blank.so
//#Expect: Error loading shared library libmissing.so: No such file or directory
//#Expect: Error loading shared library ./missing.so: No such file or directory
//#Expect: Error loading shared library libdep.so: No such file or directory (needed by ./libneeds.so)
//#Expect: Error relocating ./libsym.so: not_there: symbol not found
//#Expect: Error loading shared library ./text.so: Exec format error
//#Expect: Error loading shared library ./empty.so: Exec format error
//#Expect: Error loading shared library ./cut.so: Exec format error
//#Expect: Error loading shared library ./blank.so: Exec format error
//#Expect: Error loading shared library ./folder.so: Is a directory
//#Expect: Error loading shared library : Invalid argument
//#Expect: nothing pending
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    static const char *names[] = { "libmissing.so", "./missing.so", "./libneeds.so", "./libsym.so", "./text.so", "./empty.so",
                                   "./cut.so", "./blank.so", "./folder.so", "" };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) puts(dlopen(names[i], RTLD_NOW) ? "loaded" : dlerror());
    puts(dlerror() ? "something pending" : "nothing pending");
}
//#File: dep.c
int dep(void) { return 1; }
//#File: needs.c
int dep(void);
int needs(void) { return dep(); }
//#File: sym.c
extern int not_there(void);
int sym(void) { return not_there(); }
