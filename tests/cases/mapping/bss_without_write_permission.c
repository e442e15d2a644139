// Where a read-only segment's memory is larger than its file size, its last page shows the file and no zeros.
//#Spec: 24
//#Lib: libfoo.so = foo.c -Wl,-z,noseparate-code
//#Prog: -lfoo
//#Patch: libfoo.so phdr[PT_LOAD].p_filesz = 0x380
//#Expect: 7
#include <stdio.h>
int get(int);
int main(void) { printf("%d\n", get(399)); }
//#File: foo.c
static const volatile int value[400] = {[399] = 7};
int get(int n) { return value[n]; }
