// IRELATIVE relocations of static indirect functions are applied.
//#Spec: beyond
//#Beyond-musl: stock musl reports the relocation type as unsupported
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect-err-match[musl]: ^Error relocating \S*libfoo.so: unsupported relocation type 37\nError relocating ./prog: unsupported relocation type 37\n$
//#Expect-exit[musl]: 127
//#Expect[morsel]: program library
#include <stdio.h>
static const char *chosen(void) { return "program"; }
static const char *(*resolve(void))(void) { return chosen; }
static const char *f(void) __attribute__((ifunc("resolve")));
const char *library(void);
int main(void) { printf("%s %s\n", f(), library()); }
//#File: foo.c
static const char *chosen(void) { return "library"; }
static const char *(*resolve(void))(void) { return chosen; }
static const char *f(void) __attribute__((ifunc("resolve")));
const char *library(void) { return f(); }
