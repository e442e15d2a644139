// An unknown relocation type is reported with its number; the others are still done; exit 127.
//#Spec: 40, 41
//#Lib: libfoo.so = foo.c
//#Patch: libfoo.so rela[one].r_type = 250
//#Patch: libfoo.so rela[two].r_type = 9
//#Prog: -lfoo
//#Expect-err-match: ^Error relocating .*/libfoo.so: unsupported relocation type 250\nError relocating .*/libfoo.so: unsupported relocation type 9\n$
//#Expect-exit: 127
#include <stdio.h>
int main(void) { puts("started"); }
//#File: foo.c
int one, two;
int *pointers[] = {&one, &two};
