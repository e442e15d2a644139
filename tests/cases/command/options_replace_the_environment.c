// --library-path and --preload replace the variables; the variables stay in the environment.
//#Spec: 5, 14
//#Only: direct
//#Make: mkdir one two
//#Lib: one/libfoo.so = foo.c -DTEXT='"one"'
//#Lib: two/libfoo.so = foo.c -DTEXT='"two"'
//#Lib: libpre.so = pre.c
//#Prog: -Lone -lfoo
//#Env: LD_LIBRARY_PATH=one
//#Env: LD_PRELOAD=./libpre.so
//#Ld-options: --library-path two --preload=none.so
//#Expect: two one ./libpre.so
#include <stdio.h>
#include <stdlib.h>
const char *f(void);
int main(void) { printf("%s %s %s\n", f(), getenv("LD_LIBRARY_PATH"), getenv("LD_PRELOAD")); }
//#File: foo.c
const char *f(void) { return TEXT; }
//#File: pre.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("preload"); }
