// A program whose interpreter was set afterwards by patchelf runs as well.
//#Spec: 4
//#Only: interp
//#Make: musl-gcc -O1 -o prog main.c && patchelf --set-interpreter {interp} prog
//#Prog: none
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
