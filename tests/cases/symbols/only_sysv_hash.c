// Libraries with only a SysV hash table, only a GNU one, and both, are all searched.
//#Spec: 32
//#Lib: libsysv.so = lib.c -DN=sysv -Wl,--hash-style=sysv
//#Lib: libgnu.so = lib.c -DN=gnu -Wl,--hash-style=gnu
//#Lib: libboth.so = lib.c -DN=both -Wl,--hash-style=both
//#Prog: -lsysv -lgnu -lboth -Wl,--hash-style=sysv
//#Expect: sysv gnu both
#include <stdio.h>
const char *sysv(void), *gnu(void), *both(void);
int main(void) { printf("%s %s %s\n", sysv(), gnu(), both()); }
//#File: lib.c
#define STRING(x) #x
#define NAME(x) STRING(x)
const char *N(void) { return NAME(N); }
