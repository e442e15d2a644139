// A resolver may use relocated data of its library, whatever the order of the relocations.
//#Spec: beyond
//#Beyond-musl: stock musl does not support indirect functions
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect-err-match[musl]: f: symbol not found
//#Expect-exit[musl]: 127
//#Expect[morsel]: second
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
static const char *first(void) { return "first"; }
static const char *second(void) { return "second"; }
static const char *(*const volatile table[])(void) = {first, second};
int select_one = 1;
int *volatile selector = &select_one;
static const char *(*resolve(void))(void) { return table[*selector]; }
const char *f(void) __attribute__((ifunc("resolve")));
