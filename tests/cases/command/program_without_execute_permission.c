// Direct invocation needs no execute permission.
//#Spec: 7
//#Only: direct
//#Make: musl-gcc -o plain main.c; chmod 644 plain
//#Run: {ld} ./plain
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
