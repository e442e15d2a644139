// --library-path, --preload and --argv0 take their value after a space or an equals sign.
//#Spec: 5, 8
//#Only: direct
//#Make: mkdir sub
//#Lib: sub/libfoo.so = foo.c
//#Lib: libpre.so = pre.c
//#Prog: -Lsub -lfoo
//#Rpath: none
//#Run: {ld} --library-path sub ./prog a; {ld} --library-path=sub ./prog b
//#Run: {ld} --library-path=sub --preload ./libpre.so ./prog c; {ld} --library-path=sub --preload=./libpre.so ./prog d
//#Run: {ld} --library-path=sub --argv0 name ./prog e; {ld} --argv0=name2 --library-path sub -- ./prog f
//#Expect: foo: ./prog a
//#Expect: foo: ./prog b
//#Expect: preload
//#Expect: foo: ./prog c
//#Expect: preload
//#Expect: foo: ./prog d
//#Expect: foo: name e
//#Expect: foo: name2 f
#include <stdio.h>
const char *f(void);
int main(int argc, char **argv) { printf("%s: %s %s%s\n", f(), argv[0], argv[1], argc == 2 ? "" : " and more"); }
//#File: foo.c
const char *f(void) { return "foo"; }
//#File: pre.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("preload"); }
