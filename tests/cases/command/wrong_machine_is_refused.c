// musl does not look at e_machine; a program for another machine must be refused, not run.
//#Spec: 7
//#Beyond-musl: stock musl runs a program of any machine; running foreign code is never right
//#Only: direct
//#Prog:
//#Patch: prog ehdr.e_machine = 183
//#Expect[musl]: main
//#Expect-err-match[morsel]: ^\$LD: ./prog: Not a valid dynamic program[^\n]*\n$
//#Expect-exit[morsel]: 1
#include <stdio.h>
int main(void) { puts("main"); }
