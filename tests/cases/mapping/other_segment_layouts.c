// Two segments, lld's layout, a writable text, no RELRO, and no stack header: all are mapped.
//#Spec: 23, 27
//#Lib: libtwo.so = lib.c -DN=two -Wl,-z,noseparate-code
//#Lib: liblld.so = lib.c -DN=lld -fuse-ld=lld
//#Lib: librow.so = lib.c -DN=row -fuse-ld=lld -Wl,--no-rosegment,-z,norelro
//#Lib: libsep.so = lib.c -DN=sep -fuse-ld=lld -Wl,-z,separate-loadable-segments
//#Lib: libnostack.so = lib.c -DN=nostack
//#Patch: libnostack.so phdr[PT_GNU_STACK].p_type = PT_NULL
//#Lib: libold.so = lib.c -DN=old -Wl,-z,norelro,-z,lazy
//#Prog: -ltwo -llld -lrow -lsep -lnostack -lold -Wl,-z,noseparate-code
//#Prog: prog2 = main.c -ltwo -llld -lrow -lsep -lnostack -lold -fuse-ld=lld -Wl,--dynamic-linker={interp}
//#Run[interp]: ./prog; ./prog2
//#Run[direct]: {ld} ./prog; {ld} ./prog2
//#Expect: two lld row sep nostack old
//#Expect: two lld row sep nostack old
#include <stdio.h>
const char *two(void), *lld(void), *row(void), *sep(void), *nostack(void), *old(void);
int main(void) { printf("%s %s %s %s %s %s\n", two(), lld(), row(), sep(), nostack(), old()); }
//#File: lib.c
#define STRING(x) #x
#define NAME(x) STRING(x)
static int bss[3000], data[] = {1, 2, 3};
static int *volatile pointers[] = {bss, data};
static const char *const volatile name[] = {NAME(N), "wrong"};
const char *N(void) { return name[pointers[0][2999] + (pointers[1][2] != 3)]; }
