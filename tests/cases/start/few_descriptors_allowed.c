// One free descriptor is enough to load many libraries.
//#Spec: 22
//#Make: for i in 1 2 3 4 5 6 7 8 9; do echo "int f$i(void) { return $i; }" > f.c; musl-gcc -shared -fPIC -o libf$i.so f.c; done
//#Prog: -lf1 -lf2 -lf3 -lf4 -lf5 -lf6 -lf7 -lf8 -lf9
//#Run: ulimit -n 4; exec {start} 3>&-
//#Expect: 10
#include <stdio.h>
int f1(void), f9(void);
int main(void) { printf("%d\n", f1() + f9()); }
