// A value of the loader's variables that makes no sense is reported in one line; the program runs.
//#Spec: beyond
//#Beyond-musl: stock musl has no such variables
//#Run[musl]: {start}; {start}
//#Run[morsel]: LD_MORSEL_LOG=loudly {start}; LD_MORSEL_MAP=carefully {start}
//#Expect: main
//#Expect: main
//#Expect-err-match[morsel]: ^ld-morsel: [^\n]*LD_MORSEL_LOG[^\n]*\nld-morsel: [^\n]*LD_MORSEL_MAP[^\n]*\n$
#include <stdio.h>
int main(void) { puts("main"); }
