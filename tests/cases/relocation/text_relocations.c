// A library with relocations in its text (DT_TEXTREL) is made writable and runs.
//#Spec: 25
//#Make: musl-gcc -c -fno-pic -mcmodel=large -O1 foo.c -o foo.o
//#Lib: libfoo.so = foo.o -Wl,-z,notext
//#Prog: -lfoo
//#Expect: 42 forty-two
#include <stdio.h>
int f(void);
const char *text(void);
int main(void) { printf("%d %s\n", f(), text()); }
//#File: foo.c
int value = 42;
const char *words[] = {"forty-two"};
int f(void) { return value; }
const char *text(void) { return words[0]; }
