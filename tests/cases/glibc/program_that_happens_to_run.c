// A glibc program that uses only names that musl has too runs as it does under musl.
//#Spec: 10, 31
//#Make: gcc -O1 -o prog main.c -Wl,--dynamic-linker={interp}
//#Prog: none
//#Expect: hello
#include <unistd.h>
int main(void) { return write(1, "hello\n", 6) != 6; }
