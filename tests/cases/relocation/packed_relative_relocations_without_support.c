// musl 1.2.3 leaves DT_RELR undone; the loader does it, whatever the libc.
//#Spec: 37
//#Musl: 1.2.3
//#Beyond-musl: musl before 1.2.4 does not know DT_RELR and the program crashes or misbehaves
//#Lib: libfoo.so = foo.c -Wl,-z,pack-relative-relocs
//#Prog: -lfoo
//#Unchecked[musl]: the unrelocated pointers point anywhere
//#Expect[morsel]: one two
#include <stdio.h>
const char *word(int);
int main(void) { printf("%s %s\n", word(0), word(1)); }
//#File: foo.c
static const char *words[] = {"one", "two"};
const char *word(int n) { return words[n]; }
