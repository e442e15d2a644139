// Spaces, tabs, newlines and colons separate the names in LD_PRELOAD.
//#Spec: 21
//#Lib: libone.so = lib.c -DN='"one"'
//#Lib: libtwo.so = lib.c -DN='"two"'
//#Lib: libthree.so = lib.c -DN='"three"'
//#Run: export LD_LIBRARY_PATH={dir}
//#Run: LD_PRELOAD=" libone.so :$(printf '\t')libtwo.so
//#Run: ./libthree.so::" exec {start}
//#Expect: one
//#Expect: two
//#Expect: three
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: lib.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts(N); }
