// LD_MORSEL_LOG=debug says which paths were tried; trace names the bindings; every line has the prefix.
//#Spec: beyond
//#Without-image: no path is tried, nothing is bound
//#Beyond-musl: stock musl has no log
//#Make: mkdir empty
//#Lib: libfoo.so = foo.c
//#Rpath: $ORIGIN/empty:$ORIGIN
//#Prog: -lfoo
//#Run[musl]: {start}
//#Run[morsel]: LD_MORSEL_LOG=debug {start} 2>{tmp}/log; grep -q 'empty/libfoo.so' {tmp}/log && echo tried; grep -vc '^ld-morsel: ' {tmp}/log
//#Run[morsel]: LD_MORSEL_LOG=trace {start} 2>{tmp}/log; grep -qw in_foo {tmp}/log && echo bound; grep -vc '^ld-morsel: ' {tmp}/log; true
//#Expect: main
//#Expect[morsel]: tried
//#Expect[morsel]: 0
//#Expect[morsel]: main
//#Expect[morsel]: bound
//#Expect[morsel]: 0
#include <stdio.h>
const char *in_foo(void);
int main(void) { puts(in_foo()); }
//#File: foo.c
const char *in_foo(void) { return "main"; }
