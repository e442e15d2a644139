// Indirect functions may be called by the constructors of any object.
//#Spec: beyond
//#Beyond-musl: stock musl does not support indirect functions
//#Lib: libfoo.so = foo.c
//#Lib: libbar.so = bar.c -lfoo
//#Prog: -lbar -lfoo
//#Expect-err-match[musl]: f: symbol not found
//#Expect-exit[musl]: 127
//#Expect[morsel]: foo chosen
//#Expect[morsel]: bar chosen
//#Expect[morsel]: program chosen
#include <stdio.h>
const char *f(void);
__attribute__((constructor)) static void init(void) { printf("program %s\n", f()); }
int main(void) {}
//#File: bar.c
#include <stdio.h>
const char *f(void);
__attribute__((constructor)) static void init(void) { printf("bar %s\n", f()); }
//#File: foo.c
#include <stdio.h>
static const char *chosen(void) { return "chosen"; }
static const char *(*resolve(void))(void) { return chosen; }
const char *f(void) __attribute__((ifunc("resolve")));
__attribute__((constructor)) static void init(void) { printf("foo %s\n", f()); }
