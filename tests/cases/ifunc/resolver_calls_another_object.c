// A resolver may call a function of another library.
//#Spec: beyond
//#Beyond-musl: stock musl does not support indirect functions
//#Lib: libbar.so = bar.c
//#Lib: libfoo.so = foo.c -lbar
//#Prog: -lfoo
//#Expect-err-match[musl]: f: symbol not found
//#Expect-exit[musl]: 127
//#Expect[morsel]: by the other library
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: bar.c
int choose(void) { return 1; }
//#File: foo.c
int choose(void);
static const char *first(void) { return "by default"; }
static const char *second(void) { return "by the other library"; }
static const char *(*resolve(void))(void) { return choose() ? second : first; }
const char *f(void) __attribute__((ifunc("resolve")));
