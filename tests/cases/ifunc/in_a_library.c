// An indirect function of a library is resolved for program and library, as function and as pointer.
//#Spec: beyond
//#Beyond-musl: stock musl does not match symbols of type IFUNC
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect-err-match[musl]: symbol not found
//#Expect-exit[musl]: 127
//#Expect[morsel]: chosen, by pointer chosen, in library chosen
#include <stdio.h>
const char *f(void), *in_library(void);
const char *(*volatile pointer)(void) = f;
int main(void) { printf("%s, by pointer %s, in library %s\n", f(), pointer(), in_library()); }
//#File: foo.c
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *f(void) __attribute__((ifunc("resolve")));
const char *in_library(void) { return f(); }
