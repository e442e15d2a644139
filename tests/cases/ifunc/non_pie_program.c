// An indirect function of a program at a fixed address, with its address taken, is one function everywhere.
//#Spec: beyond
//#Beyond-musl: stock musl reports the relocation type as unsupported
//#Lib: libfoo.so = foo.c
//#Prog: -no-pie -fno-pie -lfoo -rdynamic
//#Expect-err-match[musl]: unsupported relocation type 37
//#Expect-exit[musl]: 127
//#Expect[morsel]: chosen, same address
#include <stdio.h>
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *f(void) __attribute__((ifunc("resolve")));
void *address(void);
int main(void) { printf("%s, %s\n", f(), address() == (void *)f ? "same address" : "two addresses"); }
//#File: foo.c
const char *f(void);
void *address(void) { return f; }
