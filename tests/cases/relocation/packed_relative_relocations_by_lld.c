// DT_RELR as lld makes it, together with ordinary and symbolic relocations.
//#Spec: 37
//#Musl: 1.2.5
//#Lib: libfoo.so = foo.c -fuse-ld=lld -Wl,--pack-dyn-relocs=relr
//#Make: readelf -d libfoo.so | grep -q RELRSZ
//#Prog: -lfoo
//#Expect: one two three
#include <stdio.h>
extern const char *words[3];
const char *three = "three";
int main(void) { printf("%s %s %s\n", words[0], words[1], *(const char **)words[2]); }
//#File: foo.c
extern const char *three;
const char *words[] = {"one", "two", (const char *)&three};
