// Statistics that cannot be written are worth a line on standard error; the program runs.
//#Spec: beyond
//#Beyond-musl: stock musl has no statistics
//#Run[musl]: {start}
//#Run[morsel]: LD_MORSEL_STATS=/nowhere/stats {start}
//#Expect: main
//#Expect-err-match[morsel]: ^ld-morsel: [^\n]*LD_MORSEL_STATS[^\n]*\n$
#include <stdio.h>
int main(void) { puts("main"); }
