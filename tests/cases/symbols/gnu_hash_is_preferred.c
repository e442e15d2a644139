// Where both tables exist the GNU one is used: a SysV table that is well-formed and empty does no harm.
//#Spec: 32
//#Lib: libfoo.so = foo.c -Wl,--hash-style=both
//#Prog: -lfoo
//#Make: set -- $(readelf -SW libfoo.so | sed -n 's/.* \.hash *HASH *[0-9a-f]* \([0-9a-f]*\) \([0-9a-f]*\) .*/\1 \2/p'); dd if=/dev/zero of=libfoo.so bs=1 seek=$((0x$1 + 8)) count=$((0x$2 - 8)) conv=notrunc
//#Expect: found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "found"; }
