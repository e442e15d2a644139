// LD_MORSEL_LIBC names the libc to boot; one that is missing is an error that names it.
//#Spec: beyond
//#Beyond-musl: stock musl is its own libc
//#Run[musl]: {start}; true
//#Run[morsel]: LD_MORSEL_LIBC={libc} {start}
//#Run[morsel]: LD_MORSEL_LIBC=/nowhere/libc.so {start} 2>{tmp}/err; echo "exit $?"; grep -c /nowhere/libc.so {tmp}/err
//#Expect: main
//#Expect[morsel]: exit 127
//#Expect[morsel]: 1
#include <stdio.h>
int main(void) { puts("main"); }
