// A small limit of address space is enough, and too small a one is an error and no crash.
//#Spec: 22, 23
//#Make: printf 'char foo[1 << 28];\n' > big.c; musl-gcc -shared -fPIC -o libbig.so big.c
//#Make: musl-gcc -o big -L. main.c -lbig -Wl,-rpath,{dir} -Wl,--no-as-needed -Wl,--dynamic-linker={interp}
//#Run: ulimit -v 200000; {start}
//#Run[interp]: ./big; echo "exit $?"
//#Run[direct]: {ld} ./big; echo "exit $?"
//#Expect: main
//#Expect: exit 127
//#Expect-err: Error loading shared library libbig.so: Out of memory (needed by ./big)
#include <stdio.h>
int main(void) { puts("main"); }
